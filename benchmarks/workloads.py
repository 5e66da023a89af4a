"""The keys, the filled caches and the sides of every question, for whichever contender.

A question about 1,000 keys is asked in one order over and over, which suits `dict` best, because
the processor learns every collision by heart; or in another order each pass, as programs do.
Hashes are computed beforehand, so both sides find them cached.  Values are objects of their own:
the reference count of one shared value would be the warmest word of the machine.
"""

import dataclasses
import itertools
import random
from array import array

from timing import BATCH, EACH, FRESH, Side, compile_loop

import frys_cache

SMALL = 1_000
CALLED = 100  # functools.lru_cache holds 128
LARGE = 1_000_000
OPERATIONS = 50_000  # per timed loop: half a millisecond to one for a hit


def make_keys(kind, count, seed=0):
    """Return `count` distinct keys: 16 random `bytes`, `str` as "user:0001234567", or `int`."""
    chance = random.Random(f"{kind} {seed}")
    if kind == "bytes":
        keys = [chance.randbytes(16) for _ in range(count)]
    elif kind == "str":
        keys = [f"user:{number:010d}" for number in chance.sample(range(10**10), count)]
    elif kind == "int":  # running numbers, as identifiers are: the best case of dict
        first = chance.randrange(10**6, 10**9)
        keys = list(range(first, first + count))
    else:
        raise ValueError(f"unknown kind of keys: {kind!r}")
    for key in keys:
        hash(key)
    return keys


def twins(keys):
    """Return keys that are equal to `keys` but other objects, hashes computed."""
    if isinstance(keys[0], bytes):
        copies = [bytes(bytearray(key)) for key in keys]
    elif isinstance(keys[0], str):
        copies = ["".join(list(key)) for key in keys]
    else:
        copies = [int(str(key)) for key in keys]
    for key in copies:
        hash(key)
    return copies


def make_values(count):
    """Return `count` distinct atomic objects."""
    return list(range(10**6, 10**6 + count))


def make_payloads(count):
    """Return `count` distinct bytes of about 100."""
    return [bytes(number % 50 + 75) for number in range(count)]


def pair_of_values():
    """Return two objects in turn, for ever: what an overwrite replaces is never what it stores."""
    return itertools.cycle([object(), object()])


def beside_others(contender):
    """Return the contender with room for twice as many, a tenth as many there with a ttl."""

    def make(capacity):
        cache = contender.make(2 * capacity)
        for number in range(capacity // 10):
            cache.put(number, number, ttl=3600)
        return cache

    return dataclasses.replace(contender, name="beside others", make=make)


def with_rules(contender, *prefixes):
    """Return the contender with a ttl for str and bytes keys that begin with one of these."""

    def make(capacity):
        cache = contender.make(capacity)
        for prefix in prefixes:
            cache.policies.set_ttl(prefix, 60)
            cache.policies.set_ttl(prefix.encode(), 60)
        return cache

    return dataclasses.replace(contender, name="with rules", make=make)


def small(
    contender, baseline, operation, kind="bytes", *, orders=1, same=True, hit=True, payload=False
):
    """Return a deal of one operation over 1,000 keys in so many orders.

    `same` asks by the very keys that were inserted, otherwise by equal ones.  `payload`: values
    are bytes.
    """

    def deal(seed):
        keys = make_keys(kind, SMALL, seed)
        values = make_payloads(SMALL) if payload else make_values(SMALL)
        stored = itertools.cycle([bytes(100), bytes(101)]) if payload else pair_of_values()
        asked = keys if same else twins(keys)
        if not hit:
            asked = make_keys(kind, SMALL, -1 - seed)
        count = OPERATIONS // SMALL
        lists = [asked]
        if orders > 1:
            lists = [random.Random(number).sample(asked, SMALL) for number in range(orders)]
        passes = [(lists[at % orders], value) for at, value in zip(range(count), stored)]

        def side(who):
            loop = compile_loop(EACH, who.ops[operation] if who else "pass")
            cache = who.filled(keys, values) if who else None
            return Side(loop, [(cache, passes)], OPERATIONS)

        return side(contender), side(baseline), side(None)

    return deal


def memoized(ours, baseline, kind, arguments="k"):
    """Return a deal of hits of one function, as two decorators make them, over 100 keys."""

    def deal(seed):
        keys = make_keys(kind, CALLED, seed)
        count = OPERATIONS // CALLED
        lists = [random.Random(number).sample(keys, CALLED) for number in range(25)]
        passes = [(lists[at % len(lists)], None) for at in range(count)]

        def side(decorate):
            loop = compile_loop(EACH, f"c({arguments})" if decorate else "pass")
            plain = (lambda x, y: x) if "," in arguments else (lambda x: x)
            function = decorate(plain) if decorate else None
            return Side(loop, [(function, passes)], OPERATIONS)

        return side(ours), side(baseline), side(None)

    return deal


def insertion(
    contender, baseline, kind="bytes", *, capacity=SMALL, stream=SMALL, payload=False, asked=False
):
    """Return a deal of inserting new keys at capacity; `payload`: values are bytes.

    `asked`: each key is looked for first, and missed.

    `dict` begins every stream empty; a cache stays full, and evicts one entry per key.
    """

    def deal(seed):
        # Few streams over and over, for the keys to stay warm as newly made ones are; enough of
        # them that a key has been evicted long before it comes again.
        several = 2 * capacity // stream + 1
        keys = make_keys(kind, several * stream, seed)
        streams = [keys[at : at + stream] for at in range(0, len(keys), stream)]
        streams *= max(OPERATIONS // len(keys), 1)

        def side(who):
            statement = who.ops["set"] if who else "pass"
            if who is not None and asked:
                statement = f"{who.ops['get']}; {statement}"
            loop = compile_loop(FRESH, statement)
            make = dict
            if who is not None and who.name != "dict":
                values = make_payloads(capacity) if payload else make_values(capacity)
                cache = who.filled(keys[-capacity:], values, capacity)
                make = lambda: cache  # noqa: E731
            return Side(
                loop, [(make, streams, bytes(100) if payload else object())], len(streams) * stream
            )

        return side(contender), side(baseline), side(None)

    return deal


def batch(contender, baseline, operation, kind="bytes", *, size=SMALL):
    """Return a deal of one batch operation over `size` hot keys.

    A contender without the operation does it as its user would: a comprehension or a loop.
    """
    by_hand = {
        "get_many": "[c[k] for k in b]",
        "put_many": "for k, v in b.items(): c[k] = v",
        "put_pairs": "for k, v in b: c[k] = v",
    }

    def deal(seed):
        keys = make_keys(kind, size, seed)
        values = make_values(size)
        others = [value + size for value in values]
        if operation == "get_many":
            pair = (keys, keys)
        elif operation == "put_many":
            pair = (dict(zip(keys, values)), dict(zip(keys, others)))
        else:
            pair = (list(zip(keys, values)), list(zip(keys, others)))
        batches = pair * (OPERATIONS // size // 2)

        def side(who):
            if who is None:
                return Side(compile_loop(BATCH), [(None, batches)], OPERATIONS)
            native = operation in who.ops and who.name != "dict"
            loop = compile_loop(BATCH, who.ops[operation] if native else by_hand[operation])
            return Side(loop, [(who.filled(keys, values), batches)], OPERATIONS)

        return side(contender), side(baseline), side(None)

    return deal


def large(contender, baseline, operation, kind="bytes", *, count=LARGE):
    """Return a deal of `getitem` or `get_many` over 1,000,000 keys in random order.

    Every loop of a round walks its own slice of the keys: nobody finds them warm from another.  No
    order comes back either: after one pass an lru list lies in that very order, and a second pass
    would find the neighbours of every entry warm.
    """

    def deal(seed):
        keys = make_keys(kind, count, seed)
        values = make_values(count)
        asked = random.Random(seed).sample(keys, count)
        # Strides through one shuffle give orders without common neighbours, at the cost of a slice.
        strides = range(22, 30)
        size = count // max(strides)
        slices = [asked[at::stride][:size] for stride in strides for at in range(stride)]
        many = operation == "get_many"

        def side(who, first):
            cache = who.filled(keys, values) if who else None
            statement = "pass"
            if who and many:
                statement = who.ops.get("get_many", "[c[k] for k in b]")
            elif who:
                statement = who.ops["getitem"]
            work = [slices[(first + 3 * turn) % len(slices)] for turn in range(len(slices))]
            if many:
                return Side(compile_loop(BATCH, statement), [(cache, (b,)) for b in work], size)
            turns = [(cache, [(part, None)]) for part in work]
            return Side(compile_loop(EACH, statement), turns, size)

        return side(contender, 0), side(baseline, 1), side(None, 2)

    return deal


def large_puts(statement, other, contender, *, count=LARGE):
    """Return a deal of putting 1,000,000 keys into an empty cache by two statements."""

    def deal(seed):
        keys = make_keys("bytes", count, seed)

        def side(text):
            return Side(
                compile_loop(FRESH, text), [(lambda: contender.make(count), [keys], 1)], count
            )

        return side(statement), side(other), side("pass")

    return deal


def simulation(policy, *, entries=LARGE // 100, count=LARGE):
    """Return a deal of simulating a cache over keys of which few are popular; no baseline."""

    def deal(seed):
        chance = random.Random(seed)
        keys = array("q", (int(chance.paretovariate(0.7)) for _ in range(count)))
        names = {"run": frys_cache.simulate, "policy": policy, "entries": entries}

        def side(statement):
            return Side(compile_loop(BATCH, statement, **names), [(None, [keys])], count)

        return side("run(b, policy=policy, max_entries=entries)"), None, side("pass")

    return deal


def c_path(consumer, cache_of, operation, kind="bytes"):
    """Return a deal of the C path: the whole loop in C, through `cimport`; no baseline."""

    def deal(seed):
        keys = make_keys(kind, SMALL, seed)
        cache = cache_of.filled(keys, make_values(SMALL))
        batches = ((keys, object()), (keys, object())) * (OPERATIONS // SMALL // 2)
        names = {"run": getattr(consumer, operation), "walk": consumer.walk_all}

        def side(statement):
            return Side(compile_loop(BATCH, statement, **names), [(cache, batches)], OPERATIONS)

        return side("run(c, *b)"), None, side("walk(c, *b)")

    return deal
