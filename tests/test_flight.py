"""One load per key among threads: outcomes, foreign code, garbage, many threads."""

import contextlib
import gc
import itertools
import random
import threading
import time
import weakref

import pytest
from flying import TIMEOUT, Broken, Task, fresh_flights, load, until, waiters
from hostile import OnDelete, SameHash
from test_threads import hammer

from frys_cache.errors import DeadlockError
from frys_cache.flight import Flights
from frys_cache.types import MISSING

flights = pytest.fixture(fresh_flights)


class Value:
    """A value that can be referred to weakly."""


@contextlib.contextmanager
def no_garbage():
    """Fail if what is done inside leaves anything to the collector."""
    gc.collect()
    gc.disable()
    try:
        yield
        assert gc.collect() == 0
    finally:
        gc.enable()


# Outcomes


@pytest.mark.parametrize("value", ["value", None, MISSING, 0, Broken()], ids=repr)
def test_board_from_many_threads_one_loads_and_all_get_it(flights, value):
    """Catch a second load, a follower that is left behind, and an odd value taken for none."""
    together = threading.Barrier(64)
    loads = []

    def loader():
        loads.append(1)
        until(lambda: waiters() == 63)
        return value

    def ask():
        together.wait(TIMEOUT)
        return load(flights, "key", loader)

    tasks = [Task(ask) for _ in range(64)]
    assert all(task.outcome() is value for task in tasks)
    assert loads == [1]


def test_board_of_different_keys_loads_each_at_once(flights):
    """Catch a flight that all keys share, or that an unequal key of the same hash joins."""
    keys = ["a", "b", -1, -2, SameHash(1), SameHash(2), ("a",), None]
    boarded = [flights.board(key) for key in keys]
    assert all(leads for _, leads in boarded)
    assert [flights.board(key) for key in keys] == [(flight, False) for flight, _ in boarded]
    for flight, _ in boarded:
        flight.land(1)


def test_board_of_equal_keys_joins(flights):
    """Catch keys compared by identity, where the cache compares by equality."""
    flight, _ = flights.board(("a", 1))
    assert flights.board(("a", 1.0)) == (flight, False)
    flight.land(1)


def test_board_after_the_end_starts_another_flight(flights):
    """Catch a flight that stays in the table and answers with what is old."""
    for end in (lambda f: f.land(1), lambda f: f.fail(Broken()), lambda f: f.abandon()):
        flight, leads = flights.board("key")
        assert leads
        end(flight)
        assert flights._under_way == {}


def test_failing_leader_followers_raise_that_very_exception(flights):
    """Catch an exception that is swallowed, wrapped or copied, or a follower that loads again."""
    error = Broken()
    loads = []

    def loader():
        loads.append(1)
        until(lambda: waiters() == 7)
        raise error

    tasks = [Task(load, flights, "key", loader) for _ in range(8)]
    for task in tasks:
        with pytest.raises(Broken) as caught:
            task.outcome()
        assert caught.value is error
    assert loads == [1]
    assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize("error", [StopIteration(1), KeyError("k"), RuntimeError()], ids=repr)
def test_join_of_a_failed_flight_raises_what_a_coroutine_could_not(flights, error):
    """Catch a StopIteration that becomes a RuntimeError on its way through a coroutine."""
    flight, _ = flights.board("key")
    flight.fail(error)
    with pytest.raises(type(error)) as caught:
        flight.join()
    assert caught.value is error


def test_join_of_a_failed_flight_traceback_does_not_grow(flights):
    """Catch followers whose frames pile up in the traceback of the one exception they share."""

    def depth(error):
        return len(list(iter_traceback(error.__traceback__)))

    def iter_traceback(at):
        while at is not None:
            yield at
            at = at.tb_next

    flight, _ = flights.board("key")
    depths = []
    try:
        raise Broken
    except Broken as error:
        flight.fail(error)
    for _ in range(5):
        with pytest.raises(Broken) as caught:
            flight.join()
        depths.append(depth(caught.value))
    assert len(set(depths)) == 1


def test_result_before_the_end_raises_runtimeerror(flights):
    """Catch a private sentinel that leaks out as a value."""
    flight, _ = flights.board("key")
    with pytest.raises(RuntimeError, match="not ended"):
        flight.result()
    flight.land(1)
    assert flight.result() == flight.join() == 1


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_abandoned_leader_exactly_one_follower_leads_next(flights, interrupt):
    """Catch followers that hang, get the interrupt, or all load at once."""
    loads = []

    def loader():
        loads.append(1)
        until(lambda: waiters() == 9 - len(loads))
        if len(loads) == 1:
            raise interrupt
        return "value"

    def ask():
        try:
            return load(flights, "key", loader)
        except BaseException as error:
            return type(error)

    tasks = [Task(ask) for _ in range(9)]
    outcomes = sorted((task.outcome() for task in tasks), key=str)
    assert outcomes.count("value") == 8
    assert interrupt in outcomes
    assert len(loads) == 2


def test_abandon_of_an_ended_flight_changes_nothing(flights):
    """Catch a `finally` that takes back what has landed or failed."""
    flight, _ = flights.board("key")
    flight.land("value")
    flight.abandon()
    assert flight.join() == "value"
    flight, _ = flights.board("key")
    flight.fail(Broken())
    flight.abandon()
    with pytest.raises(Broken):
        flight.join()


# Foreign code


def test_unhashable_key_raises_typeerror(flights):
    """Catch a flight that is left behind, or a message that does not name the type."""
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        flights.board([])


@pytest.mark.parametrize("when", ["on_hash", "on_compare"])
@pytest.mark.parametrize("name", ["other", "same"])
def test_key_that_boards_when_asked_boards(flights, when, name):
    """Catch a lock that is held while a key is hashed or compared, or a table caught half done."""
    boarded = []

    def board():
        boarded.append(flights.board(SameHash(name)))
        if when == "on_hash":
            boarded[-1][0].land("inner")

    first, _ = flights.board(SameHash("first"))
    flight, leads = flights.board(SameHash("same", **{when: board}))
    assert boarded
    if when == "on_compare" and name == "same":
        # What was boarded inside the comparison came first.
        assert boarded[0] == (flight, True)
        assert not leads
    else:
        assert leads
    for each in [first, flight, *(each for each, _ in boarded)]:
        each.abandon()


@pytest.mark.parametrize("when", ["on_hash", "on_compare"])
def test_key_that_raises_leaves_nothing_behind(flights, when):
    """Catch a flight that nobody leads, after a key that could not be looked up."""

    def fail():
        raise Broken

    first, _ = flights.board(SameHash("first"))
    with pytest.raises(Broken):
        flights.board(SameHash("second", **{when: fail}))
    assert list(flights._under_way) == [first]
    first.land(1)


def test_keys_that_turn_hostile_do_not_stop_an_end(flights):
    """Catch an end that hashes or compares, and so fails or removes the flight of another key."""

    class Turning:
        turned = False

        def __hash__(self):
            if Turning.turned:
                raise Broken
            return 1

        def __eq__(self, other):
            if Turning.turned:
                raise Broken
            return self is other

    boarded = [flights.board(Turning())[0] for _ in range(5)]
    Turning.turned = True
    for number in (2, 0, 4, 1, 3):
        boarded[number].land(number)
        assert boarded[number].join() == number
        assert boarded[number] not in list(flights._under_way)


def test_keys_that_become_equal_end_as_themselves(flights):
    """Catch an end that removes another flight, whose key has become equal."""

    class Merging:
        merged = False

        def __hash__(self):
            return 1

        def __eq__(self, other):
            return Merging.merged

    boarded = [flights.board(Merging())[0] for _ in range(4)]
    Merging.merged = True
    for number in (2, 3, 0, 1):
        boarded[number].land(number)
        assert all(flight._gate is not None for flight in flights._under_way)
    assert [flight.join() for flight in boarded] == [0, 1, 2, 3]


def test_comparison_that_lets_another_thread_in_one_leads(flights):
    """Catch two leaders: the table's free place was passed before the other thread took it."""
    others = []

    def let_in():
        key.on_compare = None
        first.land(1)
        others.append(Task(flights.board, SameHash("key")).outcome())

    first, _ = flights.board(SameHash("first"))
    key = SameHash("second")
    second, _ = flights.board(key)
    key.on_compare = let_in
    flight, leads = flights.board(SameHash("key"))
    assert others == [(flight, True)]
    assert not leads
    assert set(flights._under_way) == {second, flight}
    second.land(1)
    flight.land(1)


def test_comparison_answer_that_is_no_bool_counts_as_in_a_dict(flights):
    """Catch an answer that is passed on unasked, or an exception of its truth that is lost."""

    class Answer:
        def __init__(self, truth):
            self.truth = truth

        def __bool__(self):
            return self.truth()

    class Key(SameHash):
        __hash__ = SameHash.__hash__

        def __eq__(self, other):
            return Answer(self.name)

    flight, _ = flights.board(Key(lambda: True))
    assert flights.board(Key(lambda: True)) == (flight, False)
    flight.land(1)
    flight, _ = flights.board(Key(lambda: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        flights.board(Key(lambda: True))
    flight.land(1)


def test_finalizer_run_by_the_collector_may_load(flights):
    """Catch a finalizer that comes in the middle of a board and finds a lock held."""
    ran = []

    def finalize():
        ran.append(load(flights, "key", lambda: "inner"))

    def litter():
        trash = OnDelete(finalize)
        trash.itself = trash

    def collect():
        litter()
        gc.collect()

    # In the hash and in the comparison of a key, on every version.
    first, _ = flights.board(SameHash("first"))
    flight, leads = flights.board(SameHash("second", on_hash=collect, on_compare=collect))
    assert leads
    assert len(ran) >= 2
    first.land(1)
    flight.land(1)
    # And at any allocation, where the version has it.
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(500):
            litter()
            flight, leads = flights.board(number)
            assert leads
            flight.land(number)
    finally:
        gc.set_threshold(*before)
    assert set(ran) == {"inner"}


def test_finalizer_of_the_value_may_board_its_key(flights):
    """Catch a value that goes while its flight is half ended."""
    boarded = []
    flight, _ = flights.board("key")
    flight.land(OnDelete(lambda: boarded.append(flights.board("key"))))
    del flight
    ((flight, leads),) = boarded
    assert leads
    flight.land(1)


def test_join_inside_the_end_finds_the_outcome(flights):
    """Catch a destructor that joins on the very thread that is about to open the gate."""
    got = []

    class Joining(dict):
        """Flights under way that run foreign code as one leaves, as an allocation may."""

        def pop(self, flight, default):
            got.append(flight.join())
            return super().pop(flight, default)

    def lead():
        flights._under_way = Joining()
        flight, _ = flights.board("key")
        flight.land("value")

    Task(lead).outcome()
    assert got == ["value"]


# Garbage


def test_landed_flight_goes_with_its_last_holder(flights):
    """Catch a value that outlives its flight, or a cycle that only the collector breaks."""
    with no_garbage():
        flight, _ = flights.board("key")
        value = Value()
        seen = weakref.ref(value)
        flight.land(value)
        del value
        assert flight.join() is seen()
        del flight
        assert seen() is None


def test_followers_leave_no_garbage(flights):
    """Catch a waiting thread's record, or a gate, that keeps a flight."""
    seen = []

    def loader():
        until(lambda: waiters() == 3)
        value = Value()
        seen.append(weakref.ref(value))
        return value

    with no_garbage():
        tasks = [Task(load, flights, "key", loader) for _ in range(4)]
        assert len({id(task.outcome()) for task in tasks}) == 1
        del tasks
        assert [ref() for ref in seen] == [None]


def test_failed_flight_exception_goes_with_its_last_holder(flights):
    """Catch a cycle of a flight, its exception, the traceback and a frame that names the flight."""
    seen = []

    def loader():
        until(lambda: waiters() == 3)
        error = Broken()
        seen.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    def ask():
        with contextlib.suppress(Broken):
            load(flights, "key", loader)

    with no_garbage():
        for task in [Task(ask) for _ in range(4)]:
            task.outcome()
        del task
        assert [ref() for ref in seen] == [None]


@pytest.mark.parametrize("depth", [1, 2])
def test_deadlock_error_leaves_no_garbage(flights, depth):
    """Catch a ring's exception whose traceback holds the flight that fails with it."""

    def deeper(depth):
        return load(flights, depth, lambda: deeper(depth - 1 if depth else 1))

    def ask():
        try:
            deeper(depth)
        except DeadlockError as error:
            return str(error)

    ask()
    with no_garbage():
        assert ask()


def test_dropped_flights_leave_no_garbage():
    """Catch a registry that keeps the flights of a cache that is gone."""
    with no_garbage():
        flights = Flights()
        seen = weakref.ref(flights)
        flight, _ = flights.board("key")
        del flights
        assert seen() is None
        flight.land(1)
        assert flight.join() == 1
        del flight


# Many threads


def test_hammered_keys_have_one_leader_at_a_time(flights):
    """Catch two leaders of a key, a value of another key, a follower that is never told."""
    pause = lambda: time.sleep(0)  # noqa: E731
    makers = [
        *(lambda name=name: f"key-{name}" for name in range(5)),
        *(lambda number=number: number for number in (-1, -2)),
        *(lambda name=name: SameHash(name, on_compare=pause) for name in range(6)),
    ]
    leading = [threading.Lock() for _ in makers]
    loads = itertools.count()

    def use(seed):
        def run(stop):
            dice = random.Random(seed)

            def loader():
                assert leading[at].acquire(blocking=False), "two threads lead"
                try:
                    turn = next(loads)
                    if dice.random() < 0.3:
                        time.sleep(0)
                    if dice.random() < 0.1:
                        raise Broken(at)
                    if dice.random() < 0.1:
                        raise GeneratorExit
                    return (at, turn)
                finally:
                    leading[at].release()

            while not stop():
                at = dice.randrange(len(makers))
                try:
                    number, _ = load(flights, makers[at](), loader)
                except Broken as error:
                    (number,) = error.args
                except GeneratorExit:
                    continue
                assert number == at

        return run

    hammer(*(use(seed) for seed in range(6)))
    assert next(loads)
