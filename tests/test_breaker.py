"""The breaker opens for a tier that fails, and lets one caller at a time find out if it is back."""

import gc
import os
import signal
import sys
import threading
import weakref

import pytest

import frys_cache.breaker
from frys_cache.breaker import Breaker, text_of
from frys_cache.errors import TierUnavailable
from frys_cache.testing import FakeClock

AWAY = TierUnavailable("away")


class Tier:
    """A breaker, its clock, how many calls have succeeded, and what it told."""

    def __init__(self, chance=1.0):
        self.clock = FakeClock(100)
        self.done = 0
        self.told = []
        self.chance = chance
        self.breaker = Breaker(
            "disk",
            lambda: self.done,
            on_change=lambda breaker, before, after: self.told.append((before, after)),
            steady=self.clock,
            random=lambda: self.chance,
            wall=lambda: 1_000 + self.clock(),
        )

    def fail(self, times=1):
        for _ in range(times):
            self.breaker.failed(AWAY)

    def opened(self):
        self.fail(5)
        assert self.breaker.state == "open"
        return self


def test_four_faults_in_a_row_stay_closed_and_a_fifth_opens():
    """Catch a breaker that is too nervous, or never opens."""
    tier = Tier()
    tier.done = 1_000
    tier.fail(4)
    assert (tier.breaker.closed, tier.breaker.state, tier.told) == (True, "closed", [])
    tier.clock.advance(3)
    tier.fail()
    assert (tier.breaker.closed, tier.breaker.state) == (False, "open")
    assert (tier.breaker.opened, tier.breaker.since) == (1, 1_103)
    assert tier.breaker.error == "TierUnavailable: away"
    assert tier.told == [("closed", "open")]


def test_faults_in_a_row_need_no_window():
    """Catch a rare call that fails every time, and is never found to."""
    tier = Tier()
    for _ in range(5):
        tier.fail()
        tier.clock.advance(60)
    assert tier.breaker.state == "open"


def test_success_between_faults_breaks_the_row():
    """Catch a count of faults that successes do not end."""
    tier = Tier()
    for _ in range(40):
        tier.fail()
        tier.done += 2
    assert tier.breaker.closed


def test_half_of_the_calls_failing_opens():
    """Catch a tier that fails every second call, and is asked for ever."""
    tier = Tier()
    tier.done = 500
    for _ in range(2):
        tier.fail()
        tier.done += 1
    assert tier.breaker.closed
    tier.fail()
    assert tier.breaker.state == "open"


def test_half_failing_spread_over_long_stays_closed():
    """Catch a window that never ends, so that a fault an hour ago counts."""
    tier = Tier()
    for _ in range(20):
        tier.fail()
        tier.done += 1
        tier.clock.advance(6)
    assert tier.breaker.closed


def test_few_calls_all_failing_stay_closed():
    """Catch a share of a handful."""
    tier = Tier()
    tier.fail(2)
    tier.done += 1
    tier.fail()
    assert tier.breaker.closed


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_open_admits_nobody_until_the_pause_is_over(chance, pause):
    """Catch a pause that is not kept, or always the same."""
    tier = Tier(chance).opened()
    tier.clock.advance(pause - 0.01)
    assert not tier.breaker.admits()
    assert tier.breaker.state == "open"
    tier.clock.advance(0.02)
    assert tier.breaker.admits()
    assert tier.breaker.state == "half-open"
    assert not tier.breaker.closed
    assert tier.told[1:] == [("open", "half-open")]


def test_probe_under_way_admits_no_other():
    """Catch a crowd that falls on a tier that has just come back."""
    tier = Tier().opened()
    tier.clock.advance(1)
    assert [tier.breaker.admits() for _ in range(5)] == [True, False, False, False, False]


def test_three_probes_close():
    """Catch a tier that is trusted after one lucky answer, or never again."""
    tier = Tier().opened()
    tier.clock.advance(1)
    for turn in range(3):
        assert not tier.breaker.closed
        assert tier.breaker.admits()
        tier.clock.advance(0.1)
        tier.breaker.succeeded()
        assert (tier.breaker.state == "closed") is (turn == 2)
    assert tier.breaker.closed
    assert tier.breaker.admits()
    assert tier.told == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]
    tier.fail(4)
    assert tier.breaker.closed


def test_failing_probes_double_the_pause_to_thirty_seconds():
    """Catch a tier that is away for an hour and asked each second, or a pause without an end."""
    tier = Tier().opened()
    for pause in (1, 2, 4, 8, 16, 30, 30):
        tier.clock.advance(pause - 0.01)
        assert not tier.breaker.admits()
        tier.clock.advance(0.01)
        assert tier.breaker.admits()
        tier.fail()
    assert tier.breaker.opened == 8
    tier.clock.advance(30)
    for _ in range(3):
        assert tier.breaker.admits()
        tier.breaker.succeeded()
    tier.opened()
    tier.clock.advance(1)
    assert tier.breaker.admits()


def test_probe_that_fails_after_a_success_needs_three_again():
    """Catch successes that are added up across failures."""
    tier = Tier().opened()
    tier.clock.advance(1)
    for _ in range(2):
        assert tier.breaker.admits()
        tier.breaker.succeeded()
    assert tier.breaker.admits()
    tier.fail()
    tier.clock.advance(2)
    for _ in range(2):
        assert tier.breaker.admits()
        tier.breaker.succeeded()
    assert tier.breaker.state == "half-open"


def test_probe_of_which_nothing_is_heard_lapses():
    """Catch a tier that is never asked again since its probe has died."""
    tier = Tier().opened()
    tier.clock.advance(1)
    assert tier.breaker.admits()
    tier.clock.advance(4.9)
    assert not tier.breaker.admits()
    tier.clock.advance(0.2)
    assert [tier.breaker.admits(), tier.breaker.admits()] == [True, False]


def test_released_probe_is_taken_by_the_next():
    """Catch five seconds without a tier for each caller that is cancelled."""
    tier = Tier().opened()
    tier.clock.advance(1)
    assert tier.breaker.admits()
    tier.breaker.released()
    assert [tier.breaker.admits(), tier.breaker.admits()] == [True, False]
    tier.breaker.succeeded()
    tier.breaker.released()
    assert tier.breaker.state == "half-open"


def test_verdict_of_an_older_call_changes_nothing():
    """Catch calls from before the opening that lengthen the pause, or close it."""
    tier = Tier().opened()
    tier.fail(3)
    tier.breaker.succeeded()
    tier.breaker.released()
    assert (tier.breaker.opened, tier.breaker.state) == (1, "open")
    tier.clock.advance(1)
    assert tier.breaker.admits()
    tier.breaker.succeeded()
    tier.fail()
    assert tier.breaker.state == "half-open"


def test_change_is_told_outside_of_the_lock():
    """Catch a listener that waits for a thread that waits for the breaker."""

    def listen(breaker, before, after):
        other = threading.Thread(target=lambda: (breaker.failed(AWAY), breaker.released()))
        other.start()
        other.join(10)
        told.append(other.is_alive())

    told = []
    breaker = Breaker("disk", lambda: 0, on_change=listen)
    for _ in range(5):
        breaker.failed(AWAY)
    assert told == [False]


def test_forked_child_finds_no_lock_held():
    """Catch a child that waits for a thread which only its parent has."""
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with frys_cache.breaker._lock:
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    child = os.fork()
    if not child:
        signal.alarm(20)
        tier = Tier().opened()
        os._exit(tier.breaker.opened)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_error_keeps_no_frame_alive():
    """Catch a breaker that holds what the failed call had in its hands."""

    class Held:
        pass

    def call(breaker):
        held = Held()
        try:
            raise AWAY from ValueError(1)
        except TierUnavailable as error:
            breaker.failed(error)
            kept = error.__traceback__
        assert kept is not None
        AWAY.__traceback__ = None
        return weakref.ref(held)

    breaker = Breaker("disk", lambda: 0)
    gone = call(breaker)
    gc.collect()
    assert gone() is None
    assert breaker.error == "TierUnavailable: away"


def test_error_without_text_has_its_name():
    """Catch a fault that cannot be counted since its text raises."""

    class Odd(Exception):
        def __str__(self):
            raise ValueError

    assert (text_of(Odd()), text_of(KeyError())) == ("Odd", "KeyError")
    assert len(text_of(OSError("x" * 10_000))) < 600


def test_threads_at_half_open_give_one_probe():
    """Catch two callers that both see the end of the pause."""
    tier = Tier().opened()
    for _ in range(5):
        tier.clock.advance(31)
        start = threading.Barrier(200)
        admitted = []

        def ask(start=start, admitted=admitted):
            start.wait()
            if tier.breaker.admits():
                admitted.append(1)

        threads = [threading.Thread(target=ask) for _ in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert admitted == [1]
        tier.fail()


def test_threads_storm_ends_closed():
    """Catch a breaker that races into a state which it never leaves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        tier = Tier()
        healthy = threading.Event()

        def work():
            for _ in range(2_000):
                tier.clock.advance(0.1)
                if not tier.breaker.closed and not tier.breaker.admits():
                    continue
                if healthy.is_set():
                    tier.breaker.succeeded()
                else:
                    tier.breaker.failed(AWAY)

        for state in (False, True):
            if state:
                healthy.set()
            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    assert tier.breaker.state == "closed"
    told = [after for _, after in tier.told]
    assert told.count("open") == tier.breaker.opened
    assert len(tier.told) == told.count("open") + told.count("half-open") + told.count("closed")
