"""No read finds an older value than another before it, whatever fails below while threads race.

Writers and readers hammer a few keys of a chain whose tiers and backend fail, fail after they have
done it, and are slow, now and then, and for a moment altogether; `History` then looks for a read
that no order of the operations explains.  Each run pauses a few times, is checked, and is cleared.
"""

import os
import threading
import time
from contextlib import ExitStack, suppress
from random import Random

import pytest
import rocksdict  # noqa: F401  left out where it is not installed

from frys_cache import MISSING, ConsistencyManager, FrysCache, PersistentCache
from frys_cache.errors import CacheError
from frys_cache.manager import CacheManager
from frys_cache.testing import FaultyTier, History
from frys_cache.tiers.standin import StandInCache

SOAK, BRIEF = os.environ.get("FRYS_SOAK") == "1", os.environ.get("FRYS_BRIEF") == "1"
SECONDS = 60.0 if SOAK else 1.0 if BRIEF else 4.0
ROUND = 0.8
KEYS = [f"key:{n}" for n in range(20)]
WRITERS, READERS = 8, 16


class Trouble:
    """Draw what happens to each call: mostly nothing; while `down`, nothing gets through."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.down = False

    def __iter__(self):
        return self

    def __next__(self):
        if self.down:
            return "error"
        chance = self.random.random()
        if chance < 0.02:
            return "error"
        if chance < 0.04:
            return "error-after"
        if chance < 0.07:
            return self.random.random() * 0.002
        return None


class Lost(Exception):
    """What the backend raises."""


class Flaky:
    """A backend that fails before or after it has done what it was asked, or takes its time."""

    def __init__(self, seed):
        self.trouble = Trouble(seed)
        self.lock = threading.Lock()
        self.rows = {}

    def _call(self, work):
        with self.lock:
            step = next(self.trouble)
        if step == "error":
            raise Lost("not done")
        if isinstance(step, float):
            time.sleep(step)
        answer = work()
        if isinstance(step, float):
            time.sleep(step)
        if step == "error-after":
            raise Lost("perhaps done")
        return answer

    def load(self, key):
        return self._call(lambda: self.rows.get(key, MISSING))

    def store(self, key, value):
        self._call(lambda: self.rows.__setitem__(key, value))

    def delete(self, key):
        self._call(lambda: self.rows.pop(key, None))


class Run:
    """Threads at work on one cache, and the history of it."""

    def __init__(self, cache, troubles, *, evicts):
        self.cache = cache
        self.troubles = troubles
        self.history = History(evicts=evicts)
        self.numbers = [0] * WRITERS
        self.errors = []

    def write(self, name, random):
        """Write or remove something, in one of the ways there are."""
        cache, history = self.cache, self.history
        key, what = random.choice(KEYS), random.random()
        self.numbers[name] += 1
        value = self.numbers[name] * 100 + name
        if what < 0.6:
            with history.write(key, value):
                cache.put(key, value)
        elif what < 0.7:
            several = random.sample(KEYS, 2)
            first, second = (history.write(other, value) for other in several)
            with first, second:
                cache.put_many([(other, value) for other in several])
        elif what < 0.85:
            with history.delete(key):
                cache.delete(key)
        else:
            with history.delete(key) as gone, history.read(key) as read:
                read.result = cache.pop(key, None)
                if read.result is None:  # of what is in the source alone it knows nothing
                    gone.outcome = read.outcome = "refused"

    def read(self, name, random):
        """Read one key, or several at once."""
        cache, history = self.cache, self.history
        if random.random() < 0.8:
            key = random.choice(KEYS)
            with history.read(key) as read:
                read.result = cache.get(key, MISSING)
        else:
            several = random.sample(KEYS, 2)
            first, second = (history.read(key) for key in several)
            with first, second:
                first.result, second.result = cache.get_many(several, MISSING)

    def work(self, act, name, until):
        random = Random(f"{name} {until}")
        try:
            while time.monotonic() < until:
                with suppress(CacheError, Lost):
                    act(name, random)
        except BaseException as error:
            self.errors.append(error)
            raise

    def go(self, seconds=SECONDS):
        """Work for so many seconds; raise `HistoryError` for what nothing explains."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.round(min(end, time.monotonic() + ROUND))
            assert self.errors == []
            self.history.check()
            self.clear()
        self.cache._check()

    def round(self, until):
        """Let all threads work, while one part after the other is away for a moment."""
        acts = [(self.write, n) for n in range(WRITERS)]
        acts += [(self.read, n) for n in range(WRITERS, WRITERS + READERS)]
        threads = [threading.Thread(target=self.work, args=(*each, until)) for each in acts]
        for thread in threads:
            thread.start()
        for trouble in self.troubles:
            time.sleep(0.05)
            trouble.down = True
            time.sleep(0.03)
            trouble.down = False
        for thread in threads:
            thread.join()

    def clear(self):
        """Remove all keys from all tiers while nobody is at work."""
        with suppress(CacheError), ExitStack() as stack:
            if self.cache.manager._backend is None:  # which keeps what it has
                for key in KEYS:
                    stack.enter_context(self.history.delete(key))
            self.cache.clear()


def over(tiers, entries=1000, **options):
    """Return a cache over these tiers."""
    cache = FrysCache(entries)
    cache._attach(None, CacheManager(tiers, **options))
    return cache


def faulty(tier, seed):
    """Put trouble in front of the tier of a cache; return the trouble."""
    trouble = Trouble(seed)
    tier.tier = FaultyTier(tier.tier, script=trouble)
    return trouble


@pytest.mark.parametrize("entries", [1000, 4])
def test_write_through_to_a_faulty_disk(tmp_path, entries):
    """Catch a record that the disk kept when a write failed, shown again later on."""
    with PersistentCache(tmp_path / "db") as disk:
        trouble = faulty(disk, 1)
        with over([disk], entries) as cache:
            Run(cache, [trouble], evicts=True).go()
            assert cache.health()["persistent"].faults > 0


@pytest.mark.parametrize("entries", [1000, 4])
def test_write_through_two_faulty_tiers(entries):
    """Catch a tier that is read while it is older than the one below it."""
    upper, lower = StandInCache("upper"), StandInCache("lower")
    troubles = [faulty(upper, 2), faulty(lower, 3)]
    with over([upper, lower], entries) as cache:
        Run(cache, troubles, evicts=True).go()


@pytest.mark.parametrize("entries", [1000, 4])
def test_write_around_two_faulty_tiers(entries):
    """Catch a tier above the lowest that has not forgotten what was written around it."""
    upper, lower = StandInCache("upper"), StandInCache("lower")
    troubles = [faulty(upper, 4), faulty(lower, 5)]
    with over([upper, lower], entries, consistency="write-around") as cache:
        Run(cache, troubles, evicts=True).go()


@pytest.mark.parametrize("entries", [1000, 4])
def test_write_back_to_a_flaky_backend(tmp_path, entries):
    """Catch a write that is read before it is sent and not afterwards, or the other way round."""
    backend = Flaky(6)
    rules = ConsistencyManager("write-back", backend, max_delay=0.02, max_batch=10)
    with FrysCache(entries, persistent=tmp_path / "db", consistency=rules) as cache:
        Run(cache, [backend.trouble], evicts=False).go()


@pytest.mark.parametrize("entries", [1000, 4])
def test_write_through_to_a_flaky_backend_and_faulty_tiers(entries):
    """Catch a load that puts back what was written while it was under way."""
    upper, lower, backend = StandInCache("upper"), StandInCache("lower"), Flaky(7)
    troubles = [backend.trouble, faulty(upper, 8), faulty(lower, 9)]
    with over([upper, lower], entries, backend=backend) as cache:
        Run(cache, troubles, evicts=False).go()
