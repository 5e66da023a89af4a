"""`Workers`: jobs in order, bounds that hold, and threads that end."""

import gc
import os
import random
import signal
import sys
import threading
import time
import weakref
from functools import partial

import pytest
from child import FORK_NOTICE, run_quietly

from frys_cache.chain.workers import Workers
from frys_cache.errors import ConfigurationError

LONG = 30  # seconds that anything may take on a busy machine


def wait_until(holds):
    """Wait until something holds that other threads bring about."""
    end = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.001)


class Stuck:
    """A job that says when it has begun, and ends when it is let."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.go.wait(LONG)


@pytest.fixture
def stuck():
    """Give a job that is let go at the end of the test."""
    job = Stuck()
    yield job
    job.go.set()


def test_submit_jobs_run_in_their_order(stuck):
    """Catch a queue that is a stack, or jobs that are lost."""
    workers, done = Workers(limit=1), []
    workers.submit(stuck)
    for number in range(100):
        assert workers.submit(lambda number=number: done.append(number))
    assert workers.queued >= 100
    stuck.go.set()
    wait_until(lambda: len(done) == 100)
    assert done == list(range(100))


def test_submit_starts_threads_on_demand_up_to_the_limit():
    """Catch a thread per job, or one thread for all of them."""
    workers, jobs = Workers(limit=3), [Stuck() for _ in range(5)]
    assert workers.threads == 0
    for at, job in enumerate(jobs):
        assert workers.submit(job)
        assert workers.threads == min(at + 1, 3)
    for job in jobs[:3]:
        assert job.begun.wait(LONG)
    assert (workers.busy, workers.queued) == (3, 2)
    assert not jobs[3].begun.is_set()
    for job in jobs:
        job.go.set()
    assert jobs[4].begun.wait(LONG)
    wait_until(lambda: workers.busy == 0)


def test_submit_idle_thread_takes_the_next_job():
    """Catch a pool that starts a thread although one waits."""
    workers = Workers(limit=8)
    seen = []
    for number in range(20):
        workers.submit(lambda: seen.append(threading.get_ident()))
        wait_until(lambda wanted=number + 1: len(seen) == wanted)
        wait_until(lambda: len(workers._state.bells) == 1)
    assert len(set(seen)) == 1
    assert workers.threads == 1


def test_submit_full_queue_is_false(stuck):
    """Catch a queue without a bound, and a caller that is made to wait."""
    workers = Workers(limit=1, queue=2)
    assert workers.submit(stuck)
    assert stuck.begun.wait(LONG)
    assert [workers.submit(print) for _ in range(3)] == [True, True, False]
    assert workers.queued == 2


def test_threads_are_daemons_with_a_name():
    """Catch a thread that keeps the process alive, or that nobody can tell in a dump."""
    workers, seen = Workers(name="reloads"), []
    workers.submit(lambda: seen.append(threading.current_thread()))
    wait_until(lambda: seen)
    assert seen[0].daemon
    assert seen[0].name == "reloads-1"


def test_thread_without_a_job_ends_and_another_starts():
    """Catch threads that stay for ever, and a pool that cannot start again."""
    workers, done = Workers(idle=0.01), []
    workers.submit(lambda: done.append(1))
    wait_until(lambda: workers.threads == 0)
    workers.submit(lambda: done.append(2))
    wait_until(lambda: done == [1, 2])


def test_threads_that_end_lose_no_job():
    """Catch a job that is left to a thread which has just decided to end."""
    workers, done = Workers(limit=2, idle=0.0001), []
    for number in range(2_000):
        while not workers.submit(lambda number=number: done.append(number)):
            pass
        if number % 3 == 0:
            time.sleep(0.0001)
    wait_until(lambda: len(done) == 2_000)
    wait_until(lambda: workers.threads == 0)


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()])
def test_job_that_raises_is_reported_and_its_thread_goes_on(error, monkeypatch):
    """Catch an exception that ends the thread, or that nobody hears of."""
    heard, done = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: heard.append(told.exc_value))
    workers = Workers(limit=1)

    def fail():
        raise error

    workers.submit(fail)
    workers.submit(lambda: done.append(1))
    wait_until(lambda: done)
    assert heard == [error]
    assert workers.threads == 1


def test_job_that_raises_with_a_broken_hook_does_not_end_the_thread(monkeypatch):
    """Catch a thread that dies of the hook, with its place in the pool."""
    done = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: told.nothing)
    workers = Workers(limit=1)
    workers.submit(lambda: 1 / 0)
    workers.submit(lambda: done.append(1))
    wait_until(lambda: done)


def test_close_refuses_drops_and_waits(stuck):
    """Catch a job that runs after the close, or a close that does not wait."""
    workers, done = Workers(limit=1), []
    workers.submit(stuck)
    assert stuck.begun.wait(LONG)
    for _ in range(3):
        workers.submit(lambda: done.append(1))
    assert workers.close(timeout=0) == 3
    assert workers.submit(print) is False
    assert workers.busy == 1
    threading.Timer(0.01, stuck.go.set).start()
    assert workers.close(timeout=None) == 0
    assert workers.busy == 0
    wait_until(lambda: workers.threads == 0)
    assert done == []


def test_close_from_a_job_does_not_wait_for_itself():
    """Catch a pool that waits for the very job that closes it."""
    workers, done = Workers(), []
    workers.submit(lambda: done.append(workers.close(timeout=None)))
    wait_until(lambda: done == [0])


def test_forgotten_pool_ends_its_threads_and_drops_its_queue(stuck):
    """Catch threads that hold their pool, and jobs that outlive it."""
    workers, done = Workers(limit=1), []
    state = workers._state
    workers.submit(stuck)
    assert stuck.begun.wait(LONG)
    workers.submit(lambda: done.append(1))
    gone = weakref.ref(workers)
    del workers
    gc.collect()
    assert gone() is None
    stuck.go.set()
    wait_until(lambda: state.threads == 0)
    assert done == []


def test_finished_job_is_not_held():
    """Catch an idle thread that keeps what its last job had."""

    class Cargo:
        pass

    workers, cargo = Workers(limit=1), Cargo()
    gone = weakref.ref(cargo)
    workers.submit(lambda cargo=cargo: None)
    del cargo
    wait_until(lambda: gc.collect() >= 0 and gone() is None)
    assert workers.threads == 1


def test_submit_from_a_destructor_inside_of_the_pool_does_not_hang():
    """Catch a lock that the thread which holds it cannot take again."""
    workers, done = Workers(limit=1), []
    with workers._state.lock:
        assert workers.submit(lambda: done.append(1))
    wait_until(lambda: done)


def test_submit_where_no_thread_can_start_is_false(monkeypatch):
    """Catch a job that waits for a thread that there will never be."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    workers = Workers()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert workers.submit(print) is False
        assert (workers.threads, workers.queued) == (0, 0)
    done = []
    assert workers.submit(lambda: done.append(1))
    wait_until(lambda: done)


def test_submit_where_no_further_thread_can_start_leaves_it_to_those_there_are(stuck, monkeypatch):
    """Catch a job that is refused although a thread will come to it."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    workers, done = Workers(), []
    workers.submit(stuck)
    assert stuck.begun.wait(LONG)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert workers.submit(lambda: done.append(1)) is True
    assert workers.threads == 1
    stuck.go.set()
    wait_until(lambda: done)


@pytest.mark.parametrize("begun", [False, True], ids=["before", "after"])
def test_submit_interrupted_at_the_start_of_a_thread_keeps_the_count(begun, monkeypatch):
    """Catch a place in the pool that an interrupt takes for ever, or a thread counted twice."""
    start, done = threading.Thread.start, []

    def interrupted(self):
        if begun:
            start(self)
        raise KeyboardInterrupt

    workers = Workers(limit=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            workers.submit(lambda: done.append(0))
    assert workers.threads == begun
    assert workers.submit(lambda: done.append(1))
    wait_until(lambda: 1 in done)
    assert done == ([0, 1] if begun else [1])
    assert workers.threads == 1


def test_many_submitters_every_accepted_job_runs_once():
    """Catch a job that is lost or run twice among threads."""
    workers, done = Workers(limit=4, queue=50, idle=0.001), []
    accepted = [0] * 6

    def send(who):
        for number in range(500):
            accepted[who] += workers.submit(partial(done.append, (who, number)))

    threads = [threading.Thread(target=send, args=(who,)) for who in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(done) == sum(accepted))
    assert len(set(done)) == len(done)
    wait_until(lambda: workers.threads == 0)
    assert (workers.busy, workers.queued) == (0, 0)


@pytest.mark.filterwarnings(FORK_NOTICE)
def test_forked_child_begins_empty_and_works(stuck):
    """Catch a child that waits for threads which only its parent has, or runs its jobs again."""
    workers, ran = Workers(limit=1), []
    workers.submit(stuck)
    assert stuck.begun.wait(LONG)
    workers.submit(lambda: ran.append("parent's"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            begun = (workers.busy, workers.queued, workers.threads) == (0, 0, 0)
            mine = threading.Event()
            if begun and workers.submit(mine.set) and mine.wait(LONG) and not ran:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (workers.busy, workers.queued) == (1, 1)


@pytest.mark.filterwarnings(FORK_NOTICE)
def test_job_that_forks_ends_in_the_child():
    """Catch a child that goes on with the queue of its parent."""
    workers, codes = Workers(limit=1), []
    ran = []

    def fork():
        child = os.fork()
        if child == 0:
            os._exit(5 if (workers.busy, workers.queued) == (0, 0) else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    workers.submit(fork)
    workers.submit(lambda: ran.append(1))
    wait_until(lambda: ran)
    assert codes == [5]


LATE = """
class Late:
    def __init__(self):
        self.submit, self.job = workers.submit, int
    def __del__(self):
        self.submit(self.job)
late = Late()
late.me = sys.late = late
"""


@pytest.mark.parametrize(
    "code",
    [
        "workers.submit(lambda: threading.Event().wait())",
        "atexit.register(lambda: workers.submit(int))",
        LATE,
    ],
    ids=["stuck job", "at exit", "at the very end"],
)
def test_exit_is_held_up_by_no_job(code):
    """Catch a process that one stuck loader, or a late job, keeps from ending."""
    head = "import atexit, sys, threading\nfrom frys_cache.chain.workers import Workers\n"
    run_quietly(f"{head}workers = Workers()\n{code}", seconds=LONG, leaks=False)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"limit": 0}, ConfigurationError, "limit must be at least 1, not 0"),
        ({"queue": -1}, ConfigurationError, "queue must be at least 1, not -1"),
        ({"limit": True}, TypeError, "limit must be an int"),
        ({"queue": 1.5}, TypeError, "queue must be an int"),
        ({"name": None}, TypeError, "name must be a str"),
    ],
)
def test_workers_bad_argument_is_refused_by_name(arguments, error, words):
    """Catch a pool that is made and fails at its first job."""
    with pytest.raises(error, match=words):
        Workers(**arguments)


def test_submit_interrupted_leaves_no_lock_behind():
    """Catch an interrupt in a submit after which no job is ever run."""

    class Interrupt(BaseException):
        pass

    armed = False

    def handle(*_):
        nonlocal armed
        if armed:
            armed = False
            raise Interrupt

    def submit():  # a function of its own: the jump back of a loop belongs to no `try` everywhere
        while armed:
            workers.submit(int)

    workers = Workers(limit=2, queue=100_000)
    before = signal.signal(signal.SIGALRM, handle)
    end = time.monotonic() + 1.5
    try:
        while time.monotonic() < end:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
                submit()
            except Interrupt:
                pass
            armed = False
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    seen = []
    wait_until(lambda: workers.queued == workers.busy == 0)
    assert workers.submit(lambda: seen.append(1))
    wait_until(lambda: seen == [1])
    workers.close(5)
