"""The tier that fails does so as it is told, and is else the tier behind it."""

import asyncio
import itertools
import threading

import pytest

from frys_cache import CacheClosed, ConfigurationError, IntegrityError, TierUnavailable
from frys_cache.testing import FaultyTier, StandInTier, TierContract, make_record
from frys_cache.tiers.face import AsyncFace, SyncFace

RECORD = make_record(b"value")


class Slow(SyncFace):
    """A face whose time does not pass: it only says how long it would sleep."""

    blocks = True

    def __init__(self):
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)


class TestFaultyTierWithoutFaults(TierContract):
    """A faulty tier without faults is the tier behind it."""

    def make(self, tmp_path):
        return FaultyTier(StandInTier(wall=self.wall))


def outcomes(tier, times):
    """Return, call by call, whether reading a key failed."""
    failed = []
    for _ in range(times):
        try:
            tier.read_one(b"key")
        except TierUnavailable:
            failed.append(True)
        else:
            failed.append(False)
    return failed


def test_error_rate_fails_about_so_often_and_repeats():
    """Catch a rate that is not kept, and a seed that is not used."""
    first = outcomes(FaultyTier(StandInTier(), error_rate=0.3, seed=7), 1_000)
    assert 250 < sum(first) < 350
    assert first == outcomes(FaultyTier(StandInTier(), error_rate=0.3, seed=7), 1_000)
    assert first != outcomes(FaultyTier(StandInTier(), error_rate=0.3, seed=8), 1_000)


def test_script_is_followed_then_the_rates():
    """Catch a step that is skipped, or a script that repeats."""
    tier = FaultyTier(StandInTier(), script=["ok", "error", IntegrityError("damaged"), "ok"])
    assert tier.write([(b"key", RECORD)]) == []
    with pytest.raises(TierUnavailable, match="read_one"):
        tier.read_one(b"key")
    with pytest.raises(IntegrityError, match="damaged"):
        tier.read_one(b"key")
    assert [tier.read_one(b"key") for _ in range(5)] == [RECORD] * 5
    assert tier.calls == {"write": 1, "read_one": 7}
    assert tier.injected == {"error": 2}


def test_script_without_an_end_is_taken_step_by_step():
    """Catch a script that is read to its end beforehand."""
    tier = FaultyTier(StandInTier(), script=itertools.cycle(["ok", "error"]))
    assert outcomes(tier, 6) == [False, True] * 3


def test_error_after_is_carried_out():
    """Catch an unknown outcome that is none, since nothing was done."""
    tier = FaultyTier(StandInTier(), script=["error-after"])
    with pytest.raises(TierUnavailable, match="carried out"):
        tier.write([(b"key", RECORD)])
    assert tier.read_one(b"key") == RECORD
    assert tier.injected == {"error-after": 1}


def test_error_before_is_not_carried_out():
    """Catch a fault that comes too late."""
    tier = FaultyTier(StandInTier(), script=["error"])
    with pytest.raises(TierUnavailable):
        tier.write([(b"key", RECORD)])
    assert tier.read_one(b"key") is None


def test_delay_is_waited_for_through_the_face():
    """Catch a delay that blocks an event loop, or none at all."""
    face = Slow()
    tier = FaultyTier(StandInTier(), delay=0.25, script=[3, "ok"]).on(face)
    for _ in range(3):
        tier.read_one(b"key")
    assert face.slept == [3, 0.25]
    tier.delay = lambda random: 1 + random.random()
    tier.read_one(b"key")
    assert 1 <= face.slept[-1] < 2
    assert tier.injected == {"delay": 3}


def test_operations_limits_faults_and_script():
    """Catch a fault in a call that was to be spared, or a step that it uses up."""
    tier = FaultyTier(
        StandInTier(), error_rate=1.0, operations=["write"], script=["ok", "error-after"]
    )
    assert tier.read_one(b"key") is None
    assert tier.write([(b"key", RECORD)]) == []
    assert tier.read_one(b"key") == RECORD
    for match in ("carried out", "write fails"):
        with pytest.raises(TierUnavailable, match=match):
            tier.write([(b"key", RECORD)])


def test_break_down_fails_everything_until_heal():
    """Catch an operation that still works while the tier is down, or fails when it is back."""
    inner = StandInTier()
    tier = FaultyTier(inner, error_rate=0.5, script=["error"] * 50)
    tier.break_down()
    calls = (
        lambda: tier.read_one(b"k"),
        lambda: tier.read([b"k"]),
        lambda: tier.put_one(b"k", RECORD, 1, 0),
        lambda: tier.write([(b"k", RECORD)]),
        lambda: tier.drop([b"k"]),
        lambda: tier.swap(b"k", None, RECORD, 1, 0),
        lambda: tier.clear(b"a", b"b"),
        lambda: list(tier.scan()),
    )
    for call in calls:
        with pytest.raises(TierUnavailable, match="down"):
            call()
    tier.heal()
    for call in calls:
        call()
    error = IntegrityError("mine")
    tier.break_down(error)
    with pytest.raises(IntegrityError) as caught:
        tier.read([b"k"])
    assert caught.value is error


def test_scan_fails_when_walked():
    """Catch a walk whose fault is never seen, or comes before anybody walks."""
    tier = FaultyTier(StandInTier(), script=["ok", "ok", "error", "error-after"])
    tier.write([(b"a", RECORD), (b"b", RECORD)])
    assert list(tier.scan()) == [b"a", b"b"]
    walk = tier.scan()
    with pytest.raises(TierUnavailable):
        next(walk)
    walk = tier.scan()
    assert [next(walk), next(walk)] == [b"a", b"b"]
    with pytest.raises(TierUnavailable):
        next(walk)


def hanging(tier, times=1):
    """Start threads that read a key, and return them with what they got, once they hang."""
    got = []

    def read():
        try:
            got.append(tier.read_one(b"key"))
        except TierUnavailable as error:
            got.append(error)

    threads = [threading.Thread(target=read) for _ in range(times)]
    for thread in threads:
        thread.start()
    while tier.injected["hang"] < times:
        threads[0].join(0.001)
    return threads, got


@pytest.mark.parametrize("end", ["release", "heal"])
def test_hanging_calls_go_on_when_released(end):
    """Catch a test that never ends."""
    tier = FaultyTier(StandInTier(), script=["hang"] * 4)
    threads, got = hanging(tier, 4)
    assert got == []
    getattr(tier, end)()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert got == [None] * 4
    assert tier.read_one(b"key") is None


def test_hanging_call_ends_when_the_tier_is_closed():
    """Catch a call that hangs in a tier that is no more."""
    tier = FaultyTier(StandInTier(), hang=1.0)
    failed = []

    def read():
        with pytest.raises(CacheClosed) as caught:
            tier.read_one(b"key")
        failed.append(caught.value)

    thread = threading.Thread(target=read)
    thread.start()
    while not tier.injected["hang"]:
        thread.join(0.001)
    tier.close()
    thread.join(10)
    assert len(failed) == 1


def test_hanging_call_has_a_limit():
    """Catch a call that hangs for as long as nobody thinks of it."""
    tier = FaultyTier(StandInTier(), hang=1.0, hang_limit=0.001)
    with pytest.raises(TierUnavailable, match="hung"):
        tier.read_one(b"key")


def test_release_holds_for_those_that_hang_now():
    """Catch a gate that stays open, so that nothing hangs a second time."""
    tier = FaultyTier(StandInTier(), script=["hang", "hang"])
    for times in (1, 1):
        threads, got = hanging(tier, times)
        tier.release()
        threads[0].join(10)
        assert got == [None]
        tier.injected.clear()


def test_async_calls_wait_without_blocking_the_loop():
    """Catch a hanging tier that stops all other tasks."""

    async def run():
        tier = FaultyTier(StandInTier(), script=["ok", "hang", 0.001, "error"]).on(AsyncFace())
        assert await tier.write([(b"key", RECORD)]) == []
        hung = asyncio.ensure_future(tier.read_one(b"key"))
        await asyncio.sleep(0)
        assert await tier.read([b"key"]) == [RECORD]
        with pytest.raises(TierUnavailable):
            await tier.drop([b"key"])
        assert not hung.done()
        tier.release()
        assert await hung == RECORD
        assert list(await tier.scan()) == [b"key"]
        assert (tier.calls["read_one"], tier.injected["hang"]) == (1, 1)

    asyncio.run(run())


def test_async_hanging_call_can_be_cancelled_and_has_a_limit():
    """Catch a thread that hangs on after its task, so that the loop cannot be closed."""

    async def run():
        tier = FaultyTier(StandInTier(), hang=1.0, hang_limit=600).on(AsyncFace())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(tier.read_one(b"key"), 0.02)
        tier.hang_limit = 0.01
        with pytest.raises(TierUnavailable, match="hung"):
            await tier.read_one(b"key")

    asyncio.run(run())


def test_faces_share_faults_and_counters():
    """Catch a breakdown that one face does not see."""
    tier = FaultyTier(StandInTier())
    other = tier.on(Slow())
    assert tier.on(tier._face) is tier
    other.break_down()
    with pytest.raises(TierUnavailable):
        tier.read_one(b"key")
    assert other.calls == tier.calls == {"read_one": 1}


def test_attributes_are_those_of_the_tier():
    """Catch a counter that is set on the wrapper, where the tier does not see it."""
    inner = StandInTier()
    tier = FaultyTier(inner)
    assert (tier.name, tier.versions) == ("stand-in", inner.versions)
    inner.corrupt = 1
    tier.corrupt += 1
    assert inner.corrupt == 2
    assert not hasattr(tier, "fetch")
    with pytest.raises(AttributeError):
        tier.calls = None
    assert "StandInTier" in repr(tier)


@pytest.mark.parametrize(
    "options", [{"script": ["oops"]}, {"script": [-1]}, {"operations": ["close"]}]
)
def test_nonsense_is_refused_at_once(options):
    """Catch a fault that is spelled wrongly, and never happens."""
    with pytest.raises(ConfigurationError):
        FaultyTier(StandInTier(), **options)


def test_threads_count_every_call():
    """Catch a counter that loses what two threads do at once."""
    tier = FaultyTier(StandInTier(), error_rate=0.5)
    threads = [threading.Thread(target=outcomes, args=(tier, 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tier.calls == {"read_one": 4_000}
    assert 1_700 < tier.injected["error"] < 2_300
