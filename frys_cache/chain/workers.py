"""A bounded pool of daemon threads, for reloads and back-fills that nobody waits for.

A job is a callable without arguments.  Threads start when there are more jobs than idle threads, up
to the limit; jobs run in the order in which they came; a thread without a job for ten seconds ends.
Who submits is never made to wait: where the queue is full it is told so, and decides itself whether
to do the work, or to leave it.

The pool is held weakly by its threads: they share a `_State` with it, so one that is forgotten
drops its queue and ends them.  A destructor or a signal handler may submit while its own thread is
in here, so the lock can be taken again, and nothing of a job runs or is released under it.  A
handler may raise there, too: who waits does so at a bell of its own, a lock that is taken until it
rings, for a `Condition` is Python, and an interrupt leaves its lock taken for ever.  A forked child
has none of the threads and begins with an empty state.

Cost: 2 us to submit and 2 us to run where threads are busy; 40 us until an idle one has run it, and
up to 1 ms where one has to be started.  What a thread holds of a pool is 1 KB.
Not chosen: `ThreadPoolExecutor`.  Its queue has no bound, so a slow source lets it grow without
end; and the interpreter joins its threads at exit, where one stuck loader hangs the process.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, cast
from weakref import WeakValueDictionary

from frys_cache._core import report
from frys_cache.errors import ConfigurationError

__all__ = ["Workers"]

Job: TypeAlias = Callable[[], object]

IDLE_S: Final = 10.0
"""Seconds that a thread waits for a job before it ends."""


class _State:
    """What a pool and its threads share; all fields are guarded by `lock`."""

    __slots__ = (
        "bells",
        "closed",
        "closers",
        "idle_s",
        "left_behind",
        "lock",
        "queue",
        "running",
        "threads",
    )

    def __init__(self, idle_s: float) -> None:
        self.lock = threading.RLock()
        self.queue: deque[Job] = deque()
        self.threads = 0  # that are alive, or about to start
        self.bells: list[threading.Lock] = []  # of the threads that wait for a job
        self.closers: list[threading.Lock] = []  # of those that wait for the jobs that run
        self.running: dict[int, int] = {}  # thread -> 1: those that run one
        self.closed = False
        self.left_behind = False  # it is the parent's: only the thread that forked is here
        self.idle_s = idle_s

    def shut(self) -> list[Job]:
        """Refuse further jobs, end the idle threads, and give back what was queued."""
        with self.lock:
            self.closed = True
            dropped = list(self.queue)
            self.queue.clear()
            for bell in self.bells:
                _ring(bell)
        return dropped

    def wake_locked(self) -> None:
        """Have one thread that waits look for a job, if there is one that nobody has rung for."""
        for bell in self.bells:
            if _ring(bell):
                return

    def next_job(self) -> Job | None:
        """Wait for a job and take it; None: the thread has to end, and is counted no more."""
        bell = None
        told = True
        while True:
            with self.lock:
                if bell is not None:
                    self.bells.remove(bell)
                if self.queue:
                    self.running[threading.get_ident()] = 1
                    return self.queue.popleft()
                if self.closed or not told:
                    self.threads -= 1
                    return None
                bell = _bell()
                self.bells.append(bell)
            told = bell.acquire(timeout=min(self.idle_s, threading.TIMEOUT_MAX))

    def done(self) -> None:
        """Count a job as done, and tell who waits for it."""
        with self.lock:
            self.running.pop(threading.get_ident(), None)
            for bell in self.closers:
                _ring(bell)


def _bell() -> threading.Lock:
    """Return what rings once, when it is released."""
    bell = threading.Lock()
    bell.acquire()
    return bell


def _ring(bell: threading.Lock) -> bool:
    """Ring a bell; whether it had not been rung."""
    try:
        bell.release()
    except RuntimeError:
        return False
    return True


def _claim(ticket: list[None]) -> bool:
    """Tell whether nobody did before: the thread that starts, or who gives it up."""
    try:
        ticket.pop()
    except IndexError:
        return False
    return True


def _work(state: _State, ticket: list[None]) -> None:
    """Run jobs until there are none; the life of a thread."""
    if not _claim(ticket):
        return
    while True:
        job = state.next_job()
        if job is None:
            return
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - there is no caller to raise to
            report(error, job)
        finally:
            del job
        if state.left_behind:  # the job has forked: this is the child, where the lock may be held
            return
        state.done()


class Workers:
    """Run jobs in the background, on at most `limit` threads, with at most `queue` waiting.

    limit, queue: ints of at least 1.  name: of the threads, followed by a number.  idle: seconds
    after which a thread without a job ends.  The threads are daemons and do not see the context
    variables of who submits: pass `contextvars.copy_context().run` in a job that needs them.
    Safe from any thread, from destructors and from signal handlers.
    Raises `ConfigurationError` for a number that is too small, TypeError for what is no int or str.

    >>> workers = Workers(limit=2)
    >>> results = []
    >>> workers.submit(lambda: results.append(1))
    True
    >>> _ = workers.close(timeout=5)
    """

    __slots__ = ("__weakref__", "_limit", "_name", "_number", "_room", "_state")

    _state: _State | None

    def __init__(
        self,
        limit: int = 8,
        queue: int = 1000,
        name: str = "frys-worker",
        *,
        idle: float = IDLE_S,
    ) -> None:
        self._state = None
        self._limit = _at_least_one("limit", limit)
        self._room = _at_least_one("queue", queue)
        if not isinstance(name, str):
            raise TypeError(f"name must be a str, not {type(name).__name__}")
        self._name = name
        self._number = 0
        self._state = _State(idle)
        _alive[id(self)] = self

    def submit(self, job: Job) -> bool:
        """Queue a job; False: not, for the queue is full, the pool closed, or no thread to be had.

        What the job raises goes to `sys.unraisablehook`, and its thread goes on.
        """
        state = cast(_State, self._state)
        ticket: list[None] = [None]
        starting = False
        try:
            with state.lock:
                if state.closed or len(state.queue) >= self._room:
                    return False
                state.queue.append(job)
                if state.threads >= self._limit or len(state.queue) <= len(state.bells):
                    state.wake_locked()
                    return True
                # More jobs than threads that wait: one more, started when the lock is free.
                # An interrupt comes at the end of a call, so never between these two.
                state.threads += 1
                starting = True
            if self._start(state, ticket):
                return True
        except BaseException:  # an interrupt
            if starting:
                self._withdraw(state, ticket, job)
            else:
                with state.lock:
                    state.wake_locked()
            raise
        return self._withdraw(state, ticket, job)

    def _start(self, state: _State, ticket: list[None]) -> bool:
        """Start a thread; False: there can be none."""
        if sys.is_finalizing():  # it would never run, and its start wait for that
            return False
        self._number += 1
        thread = threading.Thread(
            target=_work, args=(state, ticket), name=f"{self._name}-{self._number}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # "can't start new thread": no more of them, or the interpreter ends
            return False
        return True

    def _withdraw(self, state: _State, ticket: list[None], job: Job) -> bool:
        """Give up a thread that did not start; whether one that there is will run the job."""
        if not _claim(ticket):
            return True
        with state.lock:
            state.threads -= 1
            if state.threads:
                state.wake_locked()
                return True
            for at, queued in enumerate(state.queue):
                if queued is job:
                    del state.queue[at]
                    return False
        return True

    def close(self, timeout: float | None = 0.5) -> int:
        """Take no more jobs, drop those that wait, and return how many these were.

        timeout: seconds to wait for the jobs that run, None for as long as it takes.  One that is
        not done by then is left to itself: it goes on, and ends with the process at the latest.
        A job that closes its own pool does not wait for itself.  May be called again, to wait.
        """
        state = cast(_State, self._state)
        dropped = len(state.shut())
        me = threading.get_ident()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            bell = _bell()
            left = -1.0 if end is None else end - time.monotonic()
            with state.lock:
                if len(state.running) <= (me in state.running) or (end is not None and left <= 0):
                    return dropped
                state.closers.append(bell)
            try:
                bell.acquire(timeout=min(left, threading.TIMEOUT_MAX))
            finally:
                with state.lock:
                    state.closers.remove(bell)

    @property
    def busy(self) -> int:
        """How many jobs run now."""
        return len(cast(_State, self._state).running)

    @property
    def queued(self) -> int:
        """How many jobs wait now."""
        return len(cast(_State, self._state).queue)

    @property
    def threads(self) -> int:
        """How many threads there are now."""
        return cast(_State, self._state).threads

    def __del__(self) -> None:
        state: _State | None = getattr(self, "_state", None)
        # At the very end of the interpreter there are no names any more, and no threads.
        if state is not None and not state.closed and _ring is not None:
            state.shut()

    def _begin_anew(self) -> None:
        """Begin with nothing, in a forked child."""
        state = cast(_State, self._state)
        state.left_behind = True
        anew = _State(state.idle_s)
        anew.closed = state.closed
        self._state = anew


def _at_least_one(name: str, value: object) -> int:
    """Return a number of at least 1, checked."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 1:
        raise ConfigurationError(f"{name} must be at least 1, not {value}")
    return value


# Not a WeakSet: that cannot be listed while another thread adds to it.
_alive: WeakValueDictionary[int, Workers] = WeakValueDictionary()


class _Fork(threading.local):
    """The pools that the thread which forks has seen just before."""

    seen: tuple[Workers, ...] = ()


_fork = _Fork()


def _before_fork() -> None:
    _fork.seen = tuple(pool for ref in _alive.valuerefs() if (pool := ref()) is not None)


def _after_fork_in_parent() -> None:
    _fork.seen = ()


def _after_fork_in_child() -> None:
    global _alive
    _alive = WeakValueDictionary({id(pool): pool for pool in _fork.seen})
    for pool in _fork.seen:
        pool._begin_anew()
    _fork.seen = ()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
