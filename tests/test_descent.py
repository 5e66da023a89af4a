"""The straight path of a miss and the long one: the same answers, counters and effects."""

import pytest
from chained import over, seed

from frys_cache import MISSING, TierUnavailable
from frys_cache.chain.backfill import Backfill
from frys_cache.testing import FaultyTier
from frys_cache.tiers.standin import StandInCache


def doubt(tier, level):
    level.doubts.add([tier.codec.key("a")], 1 << 62)
    tier.tier.break_down()


def rest(tier, level):
    tier.tier.break_down()
    for _ in range(5):
        level.failed(TierUnavailable("down"))


def garbage(tier, level):
    tier.tier._tier._records[tier.codec.key("a")] = b"\xf1garbage"


STATES = {
    "hit": lambda tier, level: seed(tier, "a", "value"),
    "hit with a life": lambda tier, level: seed(tier, "a", "value", 100),
    "hit at its end": lambda tier, level: seed(tier, "a", "value", 0.03),
    "nothing": lambda tier, level: None,
    "stale": lambda tier, level: seed(tier, "a", "old", 100, fresh_ms=1),
    "absent": lambda tier, level: tier.tier.put_one(
        tier.codec.key("a"), tier.codec.negative(tier.codec.key("a"), 1, 0), 1, 0
    ),
    "damaged": garbage,
    "fault": lambda tier, level: tier.tier.break_down(),
    "doubted": doubt,
    "at rest": rest,
}


def outcome(monkeypatch, above, below, strict, straight):
    """Return what a read answers, and what it leaves."""
    handed = []
    monkeypatch.setattr(Backfill, "add", lambda self, level, *_: handed.append(level.name))
    tiers = [StandInCache(name) for name in ("upper", "lower")]
    for tier in tiers:
        tier.tier = FaultyTier(tier.tier)
    cache = over(tiers, mode="strict" if strict else "resilient")
    levels = cache.manager._levels
    cache._descent = cache.manager._straight_path() if straight else None
    for state, tier, level in zip((above, below), tiers, levels, strict=True):
        STATES[state](tier, level)
    try:
        answer = cache.get("a", MISSING)
    except TierUnavailable as error:
        answer = str(error)
    found = cache.peek("a", MISSING)
    counts = [
        (level.hits, level.misses, level.negatives, level.stale, level.faults, level.breaker.state)
        for level in levels
    ]
    calls = [dict(tier.tier.calls) for tier in tiers]
    cache._check()
    cache.close()
    return answer, found, counts, calls, handed


@pytest.mark.parametrize("strict", [False, True], ids=["resilient", "strict"])
@pytest.mark.parametrize("below", STATES)
@pytest.mark.parametrize("above", STATES)
def test_both_paths_answer_count_and_keep_the_same(monkeypatch, above, below, strict):
    """Catch a path that answers, counts, asks or keeps what the other one does not."""
    straight = outcome(monkeypatch, above, below, strict, straight=True)
    assert straight == outcome(monkeypatch, above, below, strict, straight=False)
