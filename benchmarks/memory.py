"""Sizes and collector pauses, each measured in a process of its own.

    python benchmarks/memory.py                        a table of all contenders
    python benchmarks/memory.py overhead FrysCache     one question, one contender, as JSON

Resident memory is read from /proc/self/statm, because it is what the machine gives away: it counts
what allocators keep, rounding, and tables that were outgrown.  Only Linux has an answer.
"""

import gc
import json
import os
import subprocess
import sys

from contenders import contender, contenders
from timing import CLOCK
from workloads import LARGE, make_keys, make_values

PAYLOAD = 16 + 256


def resident():
    """Return the bytes of memory this process occupies."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def overhead(name, count=LARGE):
    """Return the bytes per entry beside key and value: full, and after all were evicted once."""
    keys = make_keys("bytes", 2 * count)
    values = make_values(count)
    put = contender(name)
    put.filled(keys[:100], values[:100])  # what is made on first use
    gc.collect()
    before = resident()
    cache = put.filled(keys[:count], values, count)
    full = resident() - before
    if name == "dict":
        return {"full": full / count}
    scope = {}
    exec(f"def churn(c, keys, v):\n    for k in keys: {put.ops['set']}", scope)
    scope["churn"](cache, keys[count:], None)
    return {"full": full / count, "churned": (resident() - before) / count}


def resident_size(name, count=LARGE):
    """Return the memory of the whole process over the payload: keys of 16 bytes, values of 256."""
    put = contender(name)
    pairs = ((b"%016d" % number, b"%0256d" % number) for number in range(count))
    scope = {}
    exec(f"def fill(c, pairs):\n    for k, v in pairs: {put.ops['set']}", scope)
    cache = put.make(count)
    scope["fill"](cache, pairs)
    del pairs
    gc.collect()
    return {"ratio": resident() / (PAYLOAD * count), "MB": resident() / 1e6}


def collection(name, count=LARGE, rounds=5, collections=12):
    """Return the time of full collections, cache full and cache empty in turn, in nanoseconds.

    The cache alone holds the entries: a list of the keys would be traversed in both cases.
    """
    put = contender(name)
    scope = {}
    exec(f"def fill(c, numbers):\n    for k in numbers: v = b'%d' % k; {put.ops['set']}", scope)
    cache = put.make(count)

    def pause():
        spent = []
        gc.collect()
        for _ in range(collections):
            start = CLOCK()
            gc.collect()
            spent.append(CLOCK() - start)
        return sorted(spent)[len(spent) // 2]

    full, empty = [], []
    for _ in range(rounds):
        scope["fill"](cache, range(10**6, 10**6 + count))
        full.append(pause())
        cache.clear()
        empty.append(pause())
    return {"full": full, "empty": empty}


QUESTIONS = {"overhead": overhead, "resident": resident_size, "collection": collection}


def ask(question, name, **options):
    """Return the answer to one question, measured in a new process; None where it cannot be."""
    command = [sys.executable, __file__, question, name, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"no answer to {question} of {name}:\n{done.stderr}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def table():
    """Print all questions for all contenders."""
    print(f"{'1,000,000 entries':18}{'bytes/entry':>13}{'churned':>9}{'RSS/payload':>13}{'gc':>11}")
    for name in contenders():
        if name == "lru_cache":  # neither filled with values of ours nor cleared by clear()
            continue
        sizes, whole = ask("overhead", name) or {}, ask("resident", name) or {}
        times = ask("collection", name, rounds=1)
        pause = f"{times['full'][0] / 1e6:.1f} ms" if times else "-"
        numbers = f"{sizes.get('full', 0):13.1f}{sizes.get('churned', 0):9.1f}"
        print(f"{name:18}{numbers}{whole.get('ratio', 0):13.2f}{pause:>11}", flush=True)


def main():
    if len(sys.argv) == 1:
        table()
        return
    question, name = sys.argv[1:3]
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    print(json.dumps(QUESTIONS[question](name, **options)))


if __name__ == "__main__":
    main()
