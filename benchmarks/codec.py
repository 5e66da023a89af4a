"""Encode and decode values: ours, msgspec's msgpack, pickle.

    python benchmarks/codec.py [rounds]

One round times each side back to back on the CPU time of this thread, nobody always first; the
ratio is taken per round, and the figures are medians.  msgspec is run plainly, as one would who
needs no exact types: it writes a Decimal and a UUID as str and a tuple as an array, and does not
turn them back.
"""

import datetime as dt
import gc
import pickle
import statistics
import sys
import uuid
from decimal import Decimal

import msgspec
from timing import CLOCK

from frys_cache.codec.values import decode_value, encode_value

UTC = dt.UTC


def record(number):
    """Return a record of nine fields of nine types, which shares no field with another."""
    return {
        "id": number,
        "name": f"Ada Lovelace {number}",
        "email": f"ada{number}@example.org",
        "created": dt.datetime(2026, 1, 2, 3, 4, 5, number, tzinfo=UTC),
        "balance": Decimal(number) / 100,
        "uid": uuid.UUID(int=number << 64),
        "tags": (f"admin{number}", f"editor{number}", f"guest{number}"),
        "active": True,
        "score": number / 7,
    }


RECORD = record(12_345)
VALUES = {
    "record of 9 types": (RECORD, 200),
    "100 of them": ([record(number) for number in range(1000, 1100)], 4),
    "100 ints": (list(range(0, 100_000, 1000)), 200),
    "100 str": ([f"user-{number}" for number in range(100)], 100),
    "100 str, not ASCII": ([f"Käufer {number}" for number in range(100)], 100),
    "dict of 100": ({f"key-{number}": number for number in range(100)}, 100),
    "str of 10 kB": ("x" * 10_000, 500),
}
# Bounds of encode and decode together for the first: msgspec's, and pickle's.
BOUNDS = (2.0, 0.8)


def loop(call, args, count):
    """Return the nanoseconds of one call."""
    start = CLOCK()
    for _ in range(count):
        call(*args)
    return (CLOCK() - start) / count


def measure(value, count, rounds):
    """Return for each side the lists of nanoseconds: encode, decode."""
    sides = {
        "ours": (encode_value, (value,), decode_value, encode_value(value)),
        "msgspec": (
            msgspec.msgpack.encode,
            (value,),
            msgspec.msgpack.decode,
            (msgspec.msgpack.encode(value),),
        ),
        "pickle": (pickle.dumps, (value, 5), pickle.loads, (pickle.dumps(value, 5),)),
    }
    names = list(sides)
    spent = {name: ([], []) for name in names}
    gc.collect()
    gc.disable()
    for turn in range(rounds + 3):
        for step in range(len(names)):
            name = names[(turn + step) % len(names)]
            put, put_args, get, get_args = sides[name]
            one, two = loop(put, put_args, count), loop(get, get_args, count)
            if turn >= 3:  # warm
                spent[name][0].append(one)
                spent[name][1].append(two)
    gc.enable()
    return spent


def ratio(spent, other):
    """Return the median over rounds of ours, both ways, over the other's."""
    ours = [sum(pair) for pair in zip(*spent["ours"])]
    theirs = [sum(pair) for pair in zip(*spent[other])]
    return statistics.median(a / b for a, b in zip(ours, theirs))


def main(rounds=101):
    """Print the table; return whether the first line keeps its bounds."""
    print(f"{'ns, encode + decode':<22}{'ours':>16}{'msgspec':>16}{'pickle':>16}{'ratios':>14}")
    fine = True
    for name, (value, count) in VALUES.items():
        spent = measure(value, count, rounds)
        cells = [
            f"{statistics.median(spent[side][0]):.0f} + {statistics.median(spent[side][1]):.0f}"
            for side in spent
        ]
        ratios = ratio(spent, "msgspec"), ratio(spent, "pickle")
        print(f"{name:<22}" + "".join(f"{cell:>16}" for cell in cells), end="")
        print(f"{ratios[0]:>8.2f}{ratios[1]:>6.2f}")
        if value is RECORD:
            fine = ratios[0] <= BOUNDS[0] and ratios[1] <= BOUNDS[1]
    print(f"bounds of the first line: {BOUNDS[0]} and {BOUNDS[1]}: {'kept' if fine else 'BROKEN'}")
    return fine


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))
