"""The figures the gate holds: what is measured, against what, and the bound.

A figure is a row of the table that gate.py prints.  Its bound is a ratio to the baseline, or an
absolute number of nanoseconds or bytes; a figure without a bound is reported only.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import memory
import workloads
from contenders import POLICIES, TINYLFU, contender, contenders, peers_with
from timing import Comparison, Spread, compare

import frys_cache
from frys_cache.simulation import SIMULATED

# Two deals of keys differ more than two rounds over the same keys: collisions, and where the memory
# of a cache came to lie.
DEALS, ROUNDS = 21, 3
SHARED = 10_000  # entries of the cache that several functions share


@dataclass(frozen=True)
class Figure:
    """One row: `measure(effort)` returns a Comparison and the baseline's name, or None.

    `effort` scales the number of rounds.  `unit` says what `bound` limits: "x" the ratio, "ns", "B"
    or "payload" our own value in that unit.
    """

    name: str
    measure: Callable[[float], tuple[Comparison, str] | None]
    bound: float | None = None
    unit: str = "x"


def timed(deal, baseline, deals=DEALS, rounds=ROUNDS):
    """Return a measure over `deal`; effort means more deals, or more rounds when one is dear."""

    def measure(effort):
        if deals == 1:
            return compare(deal, 1, max(9, round(rounds * effort))), baseline
        return compare(deal, max(3, round(deals * effort)), rounds), baseline

    return measure


def against_peer(operation, make_deal):
    """Return a measure against the fastest compiled peer, found in a short trial of all of them."""

    def trial(peers, deals, rounds):
        return {peer: compare(make_deal(peer), deals, rounds).base.middle for peer in peers}

    @functools.cache
    def fastest():
        times = trial(peers_with(operation), 1, 3)
        near = [peer for peer in times if times[peer] < 1.5 * min(times.values())]
        if len(near) > 1:
            times = trial(near, 9, 3)
        return min(near, key=times.get) if near else None

    def measure(effort):
        peer = fastest()
        return peer and timed(make_deal(peer), peer.name)(effort)

    return measure


def speed_figures(ours):
    """Yield the figures over 1,000 keys: against dict, then against the fastest compiled peer."""
    by_name = contenders()
    me, plain = by_name[ours], by_name["dict"]
    small = functools.partial(workloads.small, me)
    rows = [
        ("c[k] hit", "getitem", 0.95),
        ("c.get(k) hit", "get", 0.95),
        ("overwrite", "set", 0.9),
        ("k in c", "contains", 0.9),
    ]
    variants = [
        ("", {}),
        (", orders vary", {"orders": 25}),
        (", equal keys", {"same": False}),
    ]
    for label, operation, bound in rows:
        for kind in ("bytes", "str", "int"):
            limit = bound if kind != "int" else 1.4 if operation in ("getitem", "get") else None
            for variant, options in variants if kind != "int" else variants[:1]:
                deal = small(plain, operation, kind, **options)
                yield Figure(f"{label}, {kind}{variant}", timed(deal, "dict"), limit)
    for label, operation in (("c.get(k) miss", "get"), ("k in c miss", "contains")):
        yield Figure(f"{label}, bytes", timed(small(plain, operation, hit=False), "dict"))
    for label, operation in (("setdefault hit", "setdefault"), ("del c[k]; c[k] = v", "delete")):
        yield Figure(f"{label}, bytes", timed(small(plain, operation), "dict"))

    for kind in ("bytes", "str"):
        deal = workloads.insertion(me, plain, kind)
        yield Figure(f"insert + evict, {kind}", timed(deal, "dict"), 2.0)
    deal = workloads.insertion(me, plain, stream=10_000)
    yield Figure("insert + evict, 10,000 new", timed(deal, "dict"), 2.0)
    deal = workloads.insertion(me, plain, capacity=100_000, stream=100_000)
    yield Figure("insert + evict, 100,000 at once", timed(deal, "dict", 3, 9))

    for operation in ("get_many", "put_many", "put_pairs"):
        by_hand = "listcomp" if operation == "get_many" else "loop"
        label = {"put_pairs": "put_many pairs"}.get(operation, operation)
        for kind in ("bytes", "str"):
            once = functools.cache(timed(workloads.batch(me, plain, operation, kind), by_hand))
            yield Figure(f"{label}, per key, {kind}", once, 0.55)
            yield Figure(f"{label}, per key, {kind}", once, 10.0, "ns")
    for kind in ("bytes", "str", "int"):
        bound = None if kind == "int" else 1.2
        deal = workloads.large(me, plain, "getitem", kind)
        yield Figure(f"c[k], 1,000,000 random, {kind}", timed(deal, "dict", 1, 45), bound)
        bound = None if kind == "int" else 0.6
        deal = workloads.large(me, plain, "get_many", kind)
        yield Figure(f"get_many, 1,000,000 random, {kind}", timed(deal, "listcomp", 1, 45), bound)


def option_figures():
    """Yield what deadlines, weights and the other policies cost."""
    plain, bare = contender("dict"), contender("FrysCache")
    bounds = {"ttl": 1.3, "idle": 1.6} | dict.fromkeys(POLICIES, 1.3)
    bounds |= {"sieve": 0.95, "s3fifo": 0.95}  # where a hit moves nothing
    for name, bound in bounds.items():
        for variant, orders in (("", 1), (", orders vary", 25)):
            deal = workloads.small(contender(name), plain, "getitem", "str", orders=orders)
            limit = bound if orders == 1 else None
            yield Figure(f"c[k] hit, {name}{variant}", timed(deal, "dict"), limit)
    for name, label, bound in (
        ("auto, four times the room", "auto, room for 4 times as many", 1.3),
        ("auto", "auto, exactly full", 1.5),
    ):
        for kind in ("bytes", "str"):
            for variant, orders in (("", 1), (", orders vary", 25)):
                deal = workloads.small(contender(name), plain, "getitem", kind, orders=orders)
                limit = bound if orders == 1 else None
                yield Figure(f"c[k] hit, {label}, {kind}{variant}", timed(deal, "dict"), limit)
    for peer in TINYLFU:
        deal = workloads.insertion(contender("auto"), contender(peer), "str", asked=True)
        yield Figure(f"miss, put and evict, auto, {peer}", timed(deal, peer, 9), 0.5)
    deal = workloads.small(workloads.beside_others(bare), bare, "getitem", "str")
    yield Figure("c[k] hit, no ttl beside some that have", timed(deal, "without"), 1.05)
    yield from rule_figures(bare)
    deal = workloads.small(contender("bytes"), bare, "set", "bytes", payload=True)
    yield Figure("overwrite, bounded by bytes too", timed(deal, "without"), 1.5)
    deal = workloads.insertion(contender("bytes"), bare, "bytes", payload=True)
    yield Figure("insert + evict, bounded by bytes too", timed(deal, "without"), 1.5)
    deal = workloads.large_puts("c.put(k, v, ttl=60)", "c.put(k, v)", bare)
    yield Figure("put with ttl, 1,000,000 entries", timed(deal, "without", 1, 9), 1.3)
    for name, bound in (("ttl", 12.0), ("bytes", 8.0), ("auto", 24.0 + 262144 / workloads.LARGE)):
        # A full cache that has evicted nothing yet has holes of 0.2 bytes per entry in the heap.
        for label, state, limit in (("filled once", "full", None), ("at work", "churned", bound)):
            measure = functools.partial(extra, name, state)
            yield Figure(f"extra bytes per entry, {name}, {label}", measure, limit, "B")


def simulator_figures():
    """Yield what recording costs, and how long the simulator takes for a request."""
    bare, recording = contender("FrysCache"), contender("recording")
    for label, operation in (("c[k] hit", "getitem"), ("overwrite", "set")):
        deal = workloads.small(recording, bare, operation, "str")
        yield Figure(f"{label}, recording", timed(deal, "without"), 100.0, "ns")
    for policy in SIMULATED:
        bound = 100.0 if policy == "lru" else None
        measure = timed(workloads.simulation(policy), "", 1, 9)
        yield Figure(f"simulate, per request, {policy}", measure, bound, "ns")


def rule_figures(bare):
    """Yield what rules per prefix cost a write of a key that none of them names.

    The str keys begin with "user:"; one rule is told from them by its first unit, one by its
    second.  Where some entries have a ttl, every write looks for what is over, also without rules.
    """
    prefixes = ("session:", "usage:")
    for label, base in (("", bare), (", beside ttl", workloads.beside_others(bare))):
        ruled = workloads.with_rules(base, *prefixes)
        for kind in ("str", "bytes"):
            deal = workloads.small(ruled, base, "set", kind)
            yield Figure(f"rules: overwrite, {kind}{label}", timed(deal, "without"), 1.1)
            if not label:  # what has a ttl would be evicted
                deal = workloads.insertion(ruled, base, kind)
                yield Figure(f"rules: insert + evict, {kind}", timed(deal, "without"), 1.1)
    near = workloads.with_rules(bare, "user:x")
    deal = workloads.small(near, bare, "set", "str")
    yield Figure("rules: overwrite, 5 units alike", timed(deal, "without"))


def extra(name, state, effort):
    """Measure the bytes per entry that an option adds, in processes of their own."""
    mine, bare = memory.ask("overhead", name), memory.ask("overhead", "FrysCache")
    if mine is None or bare is None:
        return None
    return Comparison(Spread.of([mine[state] - bare[state]]), None, None, 1), ""


def memoize_figures():
    """Yield hits of memoized functions against functools.lru_cache, all with 128 entries."""
    lru = functools.lru_cache(128)
    shared = frys_cache.FrysCache(SHARED).memoize
    rows = [
        ("memoize, one argument", frys_cache.memoize, "k", 0.9),
        ("memoize, two arguments", frys_cache.memoize, "k, 7", None),
        ("cache.memoize, one argument", shared, "k", None),
    ]
    for label, decorate, arguments, bound in rows:
        for kind in ("str", "int"):
            deal = workloads.memoized(decorate, lru, kind, arguments)
            yield Figure(f"{label}, {kind}", timed(deal, "lru_cache"), bound)


def peer_figures(ours):
    """Yield every operation against the fastest compiled peer that has it."""
    me = contenders()[ours]

    def single(operation, **options):
        return against_peer(operation, lambda peer: workloads.small(me, peer, operation, **options))

    operations = [
        ("c[k] hit", "getitem"),
        ("c.get(k) hit", "get"),
        ("overwrite", "set"),
        ("k in c", "contains"),
        ("setdefault hit", "setdefault"),
        ("delete, put again", "delete"),
    ]
    for label, operation in operations:
        for kind in ("bytes", "str"):
            yield Figure(f"peer: {label}, {kind}", single(operation, kind=kind), 0.75)
    for label, operation in (("c.get(k) miss", "get"), ("k in c miss", "contains")):
        yield Figure(f"peer: {label}, bytes", single(operation, hit=False), 0.75)
    for kind in ("bytes", "str"):
        measure = against_peer("set", lambda peer, kind=kind: workloads.insertion(me, peer, kind))
        yield Figure(f"peer: insert + evict, {kind}", measure, 0.6)
    for operation, label in (("put_many", "put_many"), ("put_pairs", "put_many pairs")):
        measure = against_peer(operation, lambda peer, o=operation: workloads.batch(me, peer, o))
        yield Figure(f"peer: {label}, per key, bytes", measure, 0.75)
    measure = against_peer("getitem", lambda peer: workloads.large(me, peer, "getitem"))
    yield Figure("peer: c[k], 1,000,000 random", measure, 0.75)


def c_path(me, consumer, name, kind, effort):
    """Measure one loop of the consumer, or None when it could not be built."""
    module = consumer()
    return module and timed(workloads.c_path(module, me, name, kind), "")(effort)


def c_figures(ours, consumer):
    """Yield the C path: the class used from another Cython module, which `consumer()` returns."""
    me = contenders()[ours]
    for label, name in (("read", "read_all"), ("overwrite", "write_all")):
        for kind in ("bytes", "str"):
            measure = functools.partial(c_path, me, consumer, name, kind)
            yield Figure(f"C path, {label}, {kind}", measure, 10.0, "ns")


def size(question, key, ours, effort):
    """Measure one size, ours and dict's, in new processes; None where memory cannot be read."""
    mine, its = memory.ask(question, ours), memory.ask(question, "dict")
    if mine is None or its is None:
        return None
    base = Spread.of([its[key]]) if key in its else None
    return Comparison(Spread.of([mine[key]]), base, None, 1), "dict"


def collection(ours, effort):
    """Measure a full collection with a full cache against the same with an empty one."""
    times = memory.ask("collection", ours, rounds=max(3, round(5 * effort)))
    if times is None:
        return None
    full, empty = times["full"], times["empty"]
    ratios = [a / b for a, b in zip(full, empty, strict=True)]
    return Comparison(Spread.of(full), Spread.of(empty), Spread.of(ratios), len(full)), "empty"


def memory_figures(ours):
    """Yield the sizes and the collector's pause."""
    rows = [
        ("bytes per entry, 1,000,000 lru", "overhead", "full", 80.0, "B"),
        ("bytes per entry, each evicted once", "overhead", "churned", None, "B"),
        ("resident size, 16 B + 256 B", "resident", "ratio", 1.7, "payload"),
    ]
    for label, question, key, bound, unit in rows:
        yield Figure(label, functools.partial(size, question, key, ours), bound, unit)
    measure = functools.partial(collection, ours)
    yield Figure("gc.collect(), 1,000,000 entries", measure, 1.1, "x")
