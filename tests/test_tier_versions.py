"""Versions go up and lives are not prolonged, whatever the clock does."""

import threading
import timeit

import pytest

from frys_cache.tiers.versions import Versions, WallClock

HOUR = 3_600_000


class Clocks:
    """A wall clock and a steady one that the test moves."""

    def __init__(self):
        self.wall_ms, self.steady_ms = 1_700_000_000_000, 5_000

    def clock(self):
        return WallClock(wall=lambda: self.wall_ms, steady=lambda: self.steady_ms)

    def pass_by(self, ms):
        self.wall_ms += ms
        self.steady_ms += ms


def test_wall_clock_follows_time():
    """Catch a clock that stands still or runs at double speed."""
    clocks = Clocks()
    clock = clocks.clock()
    first = clock()
    assert first == clocks.wall_ms
    clocks.pass_by(250)
    assert clock() == first + 250


def test_wall_clock_set_back_goes_on_at_its_pace():
    """Catch entries that live an hour longer because the clock was set back."""
    clocks = Clocks()
    clock = clocks.clock()
    first = clock()
    clocks.wall_ms -= HOUR
    clocks.pass_by(10)
    assert clock() == first + 10
    clocks.pass_by(10)
    assert clock() == first + 20


def test_wall_clock_set_forward_follows_and_never_returns():
    """Catch a jump forward and back that gives what was stored in between an hour more."""
    clocks = Clocks()
    clock = clocks.clock()
    first = clock()
    clocks.wall_ms += HOUR
    assert clock() == first + HOUR
    clocks.wall_ms -= HOUR
    clocks.pass_by(7)
    assert clock() == first + HOUR + 7


def test_versions_rise_within_a_millisecond():
    """Catch two writes of one millisecond that cannot be told apart."""
    versions = Versions(wall_ms=lambda: 1_000)
    made = [versions.next() for _ in range(70_000)]
    assert made == sorted(set(made))
    assert made[0] == 1_000 << 16
    assert versions.last() == made[-1]


def test_versions_clock_set_back_rise():
    """Catch a write that is taken for older than what it replaces, for an hour."""
    clocks = Clocks()
    versions = Versions(wall_ms=lambda: clocks.wall_ms)
    first = versions.next()
    clocks.wall_ms -= HOUR
    assert versions.next() == first + 1
    clocks.wall_ms += 2 * HOUR
    assert versions.next() == clocks.wall_ms << 16


def test_versions_observed_is_exceeded():
    """Catch a write after a newer one of another machine that would lose against it."""
    versions = Versions(wall_ms=lambda: 1_000)
    versions.observe(9_000 << 16)
    assert versions.next() == (9_000 << 16) + 1
    versions.observe(5)
    assert versions.next() == (9_000 << 16) + 2
    with pytest.raises(ValueError, match="64 bits"):
        versions.observe(1 << 64)


def test_versions_restart_with_clock_set_back_rise():
    """Catch a restart after which all that is stored looks newer than what is written."""
    clocks, marks = Clocks(), [0]
    versions = Versions(lambda: clocks.wall_ms, save=marks.append)
    given = []
    for _ in range(50):
        given.append(versions.next())
        clocks.pass_by(100)
    clocks.wall_ms -= HOUR
    again = Versions(lambda: clocks.wall_ms, mark=marks[-1], save=marks.append)
    assert again.next() > given[-1]


def test_versions_mark_is_saved_at_most_once_a_second():
    """Catch a write to the disk with each version, and a mark that covers nothing."""
    clocks, marks = Clocks(), []
    versions = Versions(lambda: clocks.wall_ms, save=marks.append)
    for _ in range(1_000):
        assert versions.next() >> 16 <= marks[-1]
        clocks.pass_by(10)
    assert 9 <= len(marks) <= 11


def test_versions_save_that_fails_is_tried_again():
    """Catch a mark that is believed saved when the disk was full."""
    clocks, marks = Clocks(), []

    def save(mark):
        marks.append(mark)
        if len(marks) == 1:
            raise OSError("full")

    versions = Versions(lambda: clocks.wall_ms, save=save)
    with pytest.raises(OSError, match="full"):
        versions.next()
    first = versions.next()
    assert len(marks) == 2
    assert versions.next() > first


def test_versions_threads_share_no_version():
    """Catch two threads that are given the same one."""
    versions = Versions()
    lists = [[] for _ in range(4)]
    threads = [
        threading.Thread(
            target=lambda made=made: made.extend(versions.next() for _ in range(5_000))
        )
        for made in lists
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [version for some in lists for version in some]
    assert len(set(made)) == 20_000
    assert all(some == sorted(some) for some in lists)


def test_versions_next_is_cheap():
    """Catch a version that costs as much as the write; the bound is 8 times what is measured."""
    versions = Versions(save=lambda mark: None)
    assert min(timeit.repeat(versions.next, number=10_000, repeat=5)) / 10_000 < 3e-6
