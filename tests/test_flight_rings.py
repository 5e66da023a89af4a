"""Loads that wait for one another in a ring raise, those in a chain do not."""

import threading

import pytest
from flying import TIMEOUT, Broken, Task, board_elsewhere, fresh_flights, load, until

from frys_cache import flight_ring as ring
from frys_cache.errors import DeadlockError
from frys_cache.flight import Flights

flights = pytest.fixture(fresh_flights)
elsewhere = pytest.fixture(board_elsewhere)


def test_own_key_raises_at_once(flights):
    """Catch a load that waits for itself for ever."""
    with pytest.raises(DeadlockError, match="the load of 'key' asks for its own key"):
        load(flights, "key", lambda: load(flights, "key", lambda: 1))


def test_own_key_through_other_loads_raises_at_once(flights):
    """Catch a ring that is only looked for in the innermost load."""
    other = Flights()

    def outer():
        return load(other, "b", lambda: load(flights, "a", lambda: 1))

    with pytest.raises(DeadlockError, match="'a' asks for its own key"):
        load(flights, "a", outer)
    assert other._under_way == {}


@pytest.mark.parametrize("caches", [1, 2])
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_ring_of_threads_raises(threads, caches):
    """Catch threads that wait for one another for ever, in one cache or across two."""
    flights = [Flights() for _ in range(caches)]
    leading = threading.Barrier(threads)

    def lead(number):
        def loader():
            leading.wait(TIMEOUT)
            after = (number + 1) % threads
            return load(flights[after % caches], after, lambda: "never")

        return load(flights[number % caches], number, loader)

    for task in [Task(lead, number) for number in range(threads)]:
        with pytest.raises(DeadlockError, match=r"the load of \d waits for a load that"):
            task.outcome()
    assert all(each._under_way == {} for each in flights)
    assert ring.waiting == {}


def test_ring_again_and_again_never_hangs():
    """Catch two threads that each look before the other has said what it waits for."""
    flights = Flights()
    leading = threading.Barrier(2)

    def lead(mine, others):
        for _ in range(300):
            with pytest.raises(DeadlockError):
                load(flights, mine, lambda: (leading.wait(TIMEOUT), load(flights, others, int)))
            leading.wait(TIMEOUT)

    tasks = [Task(lead, "a", "b"), Task(lead, "b", "a")]
    for task in tasks:
        task.outcome()
    assert flights._under_way == ring.waiting == {}


def test_chain_without_a_ring_is_waited_for(flights):
    """Catch a chain of threads, each waiting for the next, that is taken for a ring."""
    go = threading.Event()

    def ask(number):
        if number == 5:
            go.wait(TIMEOUT)
            return "value"
        return load(flights, number + 1, lambda: ask(number + 1))

    tasks = []
    for number in reversed(range(5)):
        tasks.append(Task(load, flights, number, lambda number=number: ask(number)))
        until(lambda: len(flights._under_way) >= len(tasks) + 1)
    go.set()
    assert [task.outcome() for task in tasks] == ["value"] * 5


def test_ended_edge_is_no_ring(flights, elsewhere, monkeypatch):
    """Catch a ring seen through a thread that has not woken yet, though its wait is over."""
    me = threading.get_ident()
    mine, _ = flights.board("mine")
    theirs, _ = elsewhere("theirs")
    monkeypatch.setitem(ring.waiting, theirs._leader, (mine,))
    assert ring.look(theirs, me, None)
    mine.land(1)
    assert not ring.look(theirs, me, None)
    theirs.land(1)
    assert not ring.look(theirs, me, None)


def test_edge_that_ends_during_the_walk_is_no_ring(flights, elsewhere, monkeypatch):
    """Catch a ring put together of waits that never were at the same time."""
    me = threading.get_ident()
    mine, _ = flights.board("mine")
    second, _ = elsewhere("second")
    third, _ = elsewhere("third")

    class Moving(dict):
        """Waits that change while they are looked at: the third thread ends, then waits."""

        def get(self, thread, default):
            if thread == third._leader:
                third.land(1)
            return super().get(thread, default)

    waits = Moving({second._leader: (third,), third._leader: (mine,)})
    monkeypatch.setattr(ring, "waiting", waits)
    assert not ring.look(second, me, None)
    mine.land(1)
    second.land(1)


def test_wait_is_known_before_others_are_looked_at(flights, elsewhere, monkeypatch):
    """Catch two threads that close a ring at once and miss each other: each looked too early."""
    me = threading.get_ident()
    mine, _ = flights.board("mine")
    theirs, _ = elsewhere("theirs")

    class Closing(dict):
        """The other thread closes the ring as late as it could without seeing us."""

        def get(self, thread, default):
            if thread == theirs._leader and me not in self:
                return default
            return (mine,) if thread == theirs._leader else super().get(thread, default)

    monkeypatch.setattr(ring, "waiting", Closing())
    # One that looks too early sees nothing and waits for ever: rather let it land.
    rescue = threading.Timer(TIMEOUT, theirs.land, [None])
    rescue.daemon = True
    rescue.start()
    with pytest.raises(DeadlockError):
        theirs.join()
    rescue.cancel()
    mine.land(1)
    theirs.land(1)


def test_wait_inside_a_wait_counts_both(flights, elsewhere, monkeypatch):
    """Catch a handler that waits during a wait and hides, or forgets, what is waited for."""
    me = threading.get_ident()
    mine, _ = flights.board("mine")
    outer, _ = elsewhere("outer")
    inner, _ = elsewhere("inner")
    theirs, _ = elsewhere("theirs")
    with monkeypatch.context() as patch:
        patch.setitem(ring.waiting, theirs._leader, (mine, inner))
        assert ring.look(theirs, me, None)
        assert ring.look(theirs, inner._leader, None)
        assert not ring.look(theirs, outer._leader, None)
    ring.waiting[me] = (outer,)
    Task(lambda: (until(lambda: len(ring.waiting[me]) == 2), inner.land(1)))
    assert inner.join() == 1
    assert ring.waiting.pop(me) == (outer,)
    for flight in (mine, outer, theirs):
        flight.land(1)


class Unspeakable:
    def __repr__(self):
        raise Broken


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("k" * 10**6, r"'k{96}\.\.\."),
        (tuple(range(10**4)), r"\(0, 1, 2, .*\.\.\."),
        (Unspeakable(), r"<.*Unspeakable object at 0x\w+>"),
    ],
    ids=["long", "deep", "unspeakable"],
)
def test_deadlock_error_of_any_key_names_it_in_short(flights, key, name):
    """Catch a message of a megabyte, and a `repr` that hides the ring behind its own error."""
    flight, _ = flights.board(key)
    with pytest.raises(DeadlockError, match=f"^the load of {name} asks for its own key$") as caught:
        flight.join()
    assert len(str(caught.value)) < 200
    flight.land(1)
