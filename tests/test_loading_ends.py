"""Loads that end in no ordinary way, or not at all: what they leave to who asks."""

import asyncio
import threading

import pytest
from chained import over
from flying import Task

from frys_cache import MISSING, CacheTimeout, FrysCache
from frys_cache.chain import turns

ENDS = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
@pytest.mark.parametrize("bulk", [False, True])
def test_loader_that_ends_with_no_exception_is_called_once(end, bulk):
    """Catch a load within its timeout that is begun again for ever."""
    calls = []

    def load(key):
        calls.append(key)
        assert len(calls) < 10
        raise end

    cache = over([], loader_timeout=30, **{"loader_many" if bulk else "loader": load})
    with pytest.raises(type(end)) as caught:
        Task(cache.get_many, "ab").outcome()
    assert caught.value is end
    assert len(calls) == 1
    cache.close()


def test_factory_that_ends_with_no_exception_is_called_once():
    """Catch the same where the timeout is that of one call."""
    calls = []

    def make():
        calls.append(1)
        assert len(calls) < 10
        raise SystemExit(3)

    cache = over([])
    with pytest.raises(SystemExit):
        Task(lambda: cache.get_or_set("a", make, timeout=30)).outcome()
    assert len(calls) == 1
    cache.close()


def test_stale_value_outlasts_a_loader_that_ends_with_no_exception():
    """Catch a stale value that is worth less than SystemExit, or a source that is asked at once."""
    answers = iter([1])
    calls = []

    def load(key):
        calls.append(key)
        for answer in answers:
            return answer
        raise SystemExit(3)

    cache = over([], loader=load, stale_ttl=1000, soft_timeout=30, memory={"ttl": 0.001})
    assert cache["a"] == 1
    while "a" in cache:
        pass
    assert [Task(cache.get, "a").outcome() for _ in range(3)] == [1, 1, 1]
    assert len(calls) == 2
    cache.close()


@pytest.mark.parametrize("bulk", [False, True])
def test_key_that_hangs_takes_one_worker(bulk):
    """Catch one key whose loads take all workers, so that no other can be loaded."""
    gate, calls = threading.Event(), []

    def load(key):
        calls.append(key)
        if "bad" in key:
            gate.wait(60)
        return dict.fromkeys(key, "good") if bulk else "good"

    cache = over([], loader_timeout=0.05, **{"loader_many" if bulk else "loader": load})
    for _ in range(10):
        with pytest.raises(CacheTimeout):
            cache["bad"]
    assert len(calls) == 1
    assert cache.manager._workers.busy == 1
    gate.set()
    cache.close()


def test_write_that_waits_for_who_reads_its_key_ends(monkeypatch):
    """Catch a backend whose store reads the key in another thread, and never returns."""
    monkeypatch.setattr(turns, "PATIENCE", 0.05)
    read = []

    class Rows(dict):
        def load(self, key):
            return self.get(key, MISSING)

        def store(self, key, value):
            self[key] = value
            read.append(Task(cache.get, key).outcome())

        def delete(self, key):
            self.pop(key, None)

    cache = over([], backend=Rows())
    Task(cache.put, "a", 1).outcome()
    assert read == [1]
    assert cache["a"] == 1
    cache.close()


def test_timeout_of_a_key_that_cannot_be_shown_is_a_timeout():
    """Catch a message that fails in place of what it tells of."""

    class Shy:
        def __repr__(self):
            raise ValueError("no")

    gate = threading.Event()
    cache = over([], loader=lambda key: gate.wait(60), loader_timeout=0.01)
    with pytest.raises(CacheTimeout, match="Shy object"):
        cache.get(Shy())
    gate.set()
    cache.close()


@pytest.mark.parametrize("answer", [None, 5, [1], {"a": 1}.items()])
def test_bulk_loader_that_gives_no_mapping_is_told_what_it_has_to_give(answer):
    """Catch an error that names an attribute instead of the mistake, or a flight left behind."""
    cache = FrysCache(10, loader_many=lambda keys: answer)
    for _ in range(2):
        with pytest.raises(TypeError, match="mapping"):
            cache.get_many(["a", "b"])
    assert cache._flights._under_way == {}
