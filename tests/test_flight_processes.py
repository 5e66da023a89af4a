"""Interrupts and fork: no flight is left that nobody leads, and no thread waits for one."""

import os
import signal
import threading

import pytest
from child import run_quietly
from flying import LOAD, Task, board_elsewhere, fresh_flights, until, waiters
from hostile import SameHash
from test_threads import SECONDS

from frys_cache import flight_ring as ring
from frys_cache.flight import ABANDONED

flights = pytest.fixture(fresh_flights)
elsewhere = pytest.fixture(board_elsewhere)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="NOTICE: no fork here")
needs_kill = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="NOTICE: no signals to threads here"
)


# Interrupts


@pytest.fixture(autouse=True)
def interrupts_arrive():
    """Let SIGINT raise KeyboardInterrupt, also in a process that was started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@needs_kill
def test_interrupted_follower_leaves_the_flight_to_the_others(flights, elsewhere):
    """Catch a gate that stays shut, or a wait that is remembered, after a Ctrl-C."""
    me = threading.get_ident()
    flight, _ = elsewhere("key")
    other = Task(flight.join)

    def interrupt():
        until(lambda: waiters() == 2)
        signal.pthread_kill(me, signal.SIGINT)

    task = Task(interrupt)
    with pytest.raises(KeyboardInterrupt):
        flight.join()
    task.outcome()
    assert me not in ring.waiting
    assert other.is_alive()
    flight.land("value")
    assert other.outcome() == flight.join() == "value"


@needs_kill
def test_signal_handler_may_load_while_its_thread_waits(flights, elsewhere):
    """Catch a handler that waits inside a wait, and a wait that does not come back from it."""
    me = threading.get_ident()
    outer, _ = elsewhere("outer")
    inner, _ = elsewhere("inner")
    got = []
    before = signal.signal(signal.SIGINT, lambda *_: got.append(inner.join()))

    def interrupt():
        until(lambda: waiters() == 1)
        signal.pthread_kill(me, signal.SIGINT)
        until(lambda: len(ring.waiting[me]) == 2)
        inner.land("inner")
        until(lambda: len(ring.waiting[me]) == 1)
        outer.land("outer")

    task = Task(interrupt)
    try:
        assert outer.join() == "outer"
    finally:
        signal.signal(signal.SIGINT, before)
    task.outcome()
    assert got == ["inner"]


@needs_kill
def test_interrupts_at_any_moment_leave_nothing_under_way():
    """Catch an interrupt between two steps that must not be parted: a flight nobody leads."""
    run_quietly(
        """
        import signal, sys, threading, time
        from frys_cache import flight as module
        from frys_cache import flight_ring as ring
        from frys_cache.flight import ABANDONED, Flights
        """
        + LOAD
        + """
        flights = Flights()
        stop = threading.Event()
        served = []

        def follow():
            while not stop.is_set():
                served.append(load(flights, "key", lambda: "theirs"))

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        interrupts = 0
        # Odd, so that it falls on another moment every time; far apart, so that no interrupt
        # meets the handling of another.
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        end = time.monotonic() + float(sys.argv[1])
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.000_537)
                while True:
                    load(flights, "key", lambda: "ours")
            except KeyboardInterrupt:
                interrupts += 1
        stop.set()
        follower.join(60)
        assert not follower.is_alive(), "the follower hangs"
        assert interrupts and served
        assert flights._under_way == {}, flights._under_way
        assert ring.waiting == {}, ring.waiting
        """,
        SECONDS,
    )


# Fork


@needs_fork
def test_fork_beside_a_leading_thread_child_loads_itself():
    """Catch a child that waits for a thread which only its parent has."""
    run_quietly(
        """
        import os, signal, sys, threading
        from frys_cache import flight as module
        from frys_cache import flight_ring as ring
        from frys_cache.errors import DeadlockError
        from frys_cache.flight import ABANDONED, Flights

        flights, others = Flights(), Flights()
        leading, done = threading.Event(), threading.Event()

        def lead():
            theirs = flights.board("theirs")[0]
            more = others.board("theirs")[0]
            leading.set()
            done.wait(60)
            theirs.land("parent")
            more.land("parent")

        leader = threading.Thread(target=lead)
        leader.start()
        leading.wait(60)
        mine, _ = flights.board("mine")
        theirs, leads = flights.board("theirs")
        assert not leads
        follower = threading.Thread(target=theirs.join)
        follower.start()
        while not ring.waiting:
            pass
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            status = 1
            try:
                assert ring.waiting == {}
                assert module._fork.seen == ()
                assert theirs.join() is ABANDONED
                assert list(flights._under_way) == [mine] and not others._under_way
                for each in flights, others:
                    flight, leads = each.board("theirs")
                    assert leads
                    flight.land("child")
                    assert flight.join() == "child"
                assert flights.board("mine") == (mine, False)
                try:
                    mine.join()
                except DeadlockError:
                    mine.land("child")
                assert mine.join() == "child"
                assert not flights._under_way
                status = 0
            finally:
                os._exit(status)
        status = os.waitpid(pid, 0)[1]
        assert module._fork.seen == ()
        assert len(flights._under_way) == 2
        done.set()
        leader.join()
        follower.join()
        assert theirs.join() == "parent"
        mine.land("parent")
        assert not flights._under_way
        sys.exit(status != 0)
        """
    )


def test_survivors_of_a_fork_are_kept_without_a_comparison(flights, elsewhere):
    """Catch a child in which the `__eq__` of a key decides whether its flight is kept."""
    keys = [SameHash(number) for number in range(3)]
    mine = [flights.board(key)[0] for key in keys]
    theirs, _ = elsewhere("theirs")
    ended, _ = flights.board("ended")
    seen = [(flight, {}) for flight in flights._under_way]
    ended.land(1)
    for key in keys:
        key.on_compare = lambda: pytest.fail("compared")
    flights._survive(seen, threading.get_ident())
    assert list(flights._under_way) == mine
    assert theirs.join() is ABANDONED
    assert ended.join() == 1
    for number, flight in enumerate(mine):
        flight.land(number)
        assert flight.join() == number


@needs_fork
def test_fork_beside_busy_threads_leaves_a_child_that_loads():
    """Catch a child that inherits a flight half boarded or half ended."""
    run_quietly(
        """
        import os, random, signal, sys, threading
        from frys_cache.flight import ABANDONED, Flights
        """
        + LOAD
        + """
        flights = Flights()
        stop = threading.Event()

        def work(seed):
            dice = random.Random(seed)
            while not stop.is_set():
                load(flights, dice.randrange(3), lambda: load(flights, dice.randrange(3, 9), int))

        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for worker in workers:
            worker.start()
        failed = 0
        for _ in range(40):
            def fork():
                pid = os.fork()
                if pid == 0:
                    signal.alarm(30)
                return pid
            # The load that forks goes on in both.
            pid = load(flights, "fork", fork)
            if pid == 0:
                status = 1
                try:
                    for key in range(9):
                        assert load(flights, key, lambda: "child") == "child"
                    assert not flights._under_way
                    status = 0
                finally:
                    os._exit(status)
            failed += os.waitpid(pid, 0)[1] != 0
        stop.set()
        for worker in workers:
            worker.join()
        assert not flights._under_way
        sys.exit(failed)
        """
    )


@needs_fork
def test_fork_beside_waiting_tasks_child_loads_itself():
    """Catch a child that waits for a task, or wakes a loop, which only its parent has."""
    run_quietly(
        """
        import asyncio, os, signal, sys, threading
        from frys_cache import flight_ring as ring
        from frys_cache.flight import ABANDONED, Flights
        from frys_cache.tiers.face import ASYNC, SYNC

        flights = Flights()
        started, go = threading.Event(), threading.Event()

        async def main():
            async def load():
                started.set()
                while not go.is_set():
                    await asyncio.sleep(0.001)
                return "parent"

            flight, _ = flights.board("key")
            leader = asyncio.create_task(ASYNC.lead(flight, load))
            others = [asyncio.create_task(ASYNC.wait(flight)) for _ in range(9)]
            return await leader, set(await asyncio.gather(*others))

        def run():
            assert asyncio.run(main()) == ("parent", {"parent"})

        loop = threading.Thread(target=run)
        loop.start()
        started.wait(60)
        flight, leads = flights.board("key")
        assert not leads
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            status = 1
            try:
                assert flight.join() is ABANDONED and not flight._on_end
                assert not flights._under_way and not ring.waiting

                async def child():
                    return "child"

                flight, leads = flights.board("key")
                assert leads and asyncio.run(ASYNC.lead(flight, child)) == "child"
                status = 0
            finally:
                os._exit(status)
        status = os.waitpid(pid, 0)[1]
        go.set()
        loop.join()
        assert flight.join() == "parent"
        sys.exit(status != 0)
        """
    )
