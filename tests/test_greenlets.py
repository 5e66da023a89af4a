"""Listeners that switch greenlets, as they do under gevent: one thread, several stacks."""

import os

import greenlet  # noqa: F401  (absent on some builds: then this file is left out)
import pytest
from child import run_quietly


@pytest.mark.skipif(
    os.environ.get("FRYS_SANITIZED") == "1", reason="ASan takes a switched stack for a smashed one"
)
def test_batch_parked_inside_a_listener_goes_on_afterwards():
    """Catch a queue that is freed while another greenlet of the thread is still in it."""
    run_quietly(
        """
        import greenlet
        from frys_cache import MemoryCache

        hub = greenlet.getcurrent()
        heard = []

        def listener(key, value, cause):
            heard.append((key, value, cause.value))
            if len(heard) == 1:
                filler.switch()

        def pairs():
            yield "x", 1
            hub.switch()
            yield "y", 2
            yield "x", 3

        c = MemoryCache(9, on_evict=listener)
        filler = greenlet.greenlet(lambda: c.put_many(pairs()))
        c["a"] = 1
        c["a"] = 2
        filler.switch()
        assert heard == [("a", 1, "replaced"), ("x", 1, "replaced")], heard
        assert list(c) == ["a", "y", "x"]
        c._check()
        """
    )
