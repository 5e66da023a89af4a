"""Who listens is told, in order and outside of locks; who raises harms nobody."""

import dataclasses
import gc
import sys
import threading
import weakref

import pytest

from frys_cache.health import CacheEvent, Events, TierHealth


@pytest.fixture
def unraisable(monkeypatch):
    """Return the list of exceptions that went to sys.unraisablehook."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: seen.append(told.exc_value))
    return seen


def test_health_is_a_snapshot_that_nobody_changes():
    """Catch a report that changes under its reader, or that its reader changes."""
    health = TierHealth()
    assert (health.state, health.breaker, health.last_error) == ("ok", "closed", None)
    assert dict(health.detail) == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        health.state = "down"
    with pytest.raises(TypeError):
        health.detail["x"] = 1
    assert not hasattr(health, "__dict__")
    assert dataclasses.replace(health, dirty=3).dirty == 3


def test_event_is_told_in_order_of_subscription():
    """Catch an order by hash, and an event without its time."""
    events = Events(wall=lambda: 7.5)
    seen = []
    for name in "abc":
        events.subscribe(lambda event, name=name: seen.append((name, event)))
    events.tell("breaker", "disk", before="closed", kind="any name")
    assert [name for name, _ in seen] == list("abc")
    assert seen[0][1] == CacheEvent(
        "breaker", "disk", 7.5, {"before": "closed", "kind": "any name"}
    )
    events.tell("closed")
    assert (seen[-1][1].tier, dict(seen[-1][1].detail)) == (None, {})


def test_event_without_listeners_makes_nothing():
    """Catch a clock that is read, or an object made, for nobody."""
    events = Events(wall=lambda: pytest.fail("the clock was read"))
    events.tell("breaker", "disk", before="closed")


def test_unsubscribed_is_told_no_more():
    """Catch a removal by equality, which takes the other of two subscriptions."""
    events, seen = Events(), []
    first = events.subscribe(seen.append)
    events.subscribe(seen.append)
    events.tell("one")
    assert len(seen) == 2
    first()
    first()
    events.tell("two")
    assert [event.kind for event in seen] == ["one", "one", "two"]


def test_listener_that_raises_disables_nothing(unraisable):
    """Catch an exception that reaches who was at work, or silences the others."""
    events, seen = Events(), []

    def bad(event):
        raise ZeroDivisionError(event.kind)

    events.subscribe(bad)
    events.subscribe(seen.append)
    events.tell("one")
    events.tell("two")
    assert [event.kind for event in seen] == ["one", "two"]
    assert list(map(str, unraisable)) == ["one", "two"]
    assert events.errors == 2


def test_listener_that_raises_is_shown(monkeypatch, capsys):
    """Catch what the interpreter's own hook cannot show."""
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    events = Events()
    events.subscribe(lambda event: 1 / 0)
    events.tell("one")
    shown = capsys.readouterr().err
    assert "Exception ignored" in shown
    assert "lambda event: 1 / 0" in shown or "<lambda>" in shown
    assert "ZeroDivisionError" in shown


def test_listener_that_raises_leaves_no_garbage(unraisable):
    """Catch a ring of an exception and a frame, which keeps what the listener had."""

    class Held:
        pass

    def bad(event):
        held = Held()
        gone.append(weakref.ref(held))
        raise ValueError

    gone = []
    events = Events()
    events.subscribe(bad)
    gc.collect()
    gc.disable()
    try:
        events.tell("one")
        unraisable.clear()
        assert gone[0]() is None
    finally:
        gc.enable()


def test_listener_may_subscribe_and_unsubscribe_meanwhile():
    """Catch a walk over what changes, and a lock held while listeners run."""
    events, seen = Events(), []

    def listen(event):
        seen.append(event.kind)
        thread = threading.Thread(target=lambda: events.subscribe(lambda event: None))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        stop()

    stop = events.subscribe(listen)
    events.tell("one")
    events.tell("two")
    assert seen == ["one"]


def test_threads_subscribing_lose_none():
    """Catch two subscriptions of which the later forgets the earlier."""
    events, seen = Events(), []
    start = threading.Barrier(8)

    def work():
        start.wait()
        for _ in range(200):
            events.subscribe(seen.append)
            events.subscribe(seen.append)()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events.tell("one")
    assert len(seen) == 8 * 200


@pytest.mark.parametrize("listener", [None, 3, "print"])
def test_listener_that_cannot_be_called_is_refused_at_once(listener):
    """Catch an error that comes with the first event, far from its cause."""
    with pytest.raises(TypeError, match="callable"):
        Events().subscribe(listener)
