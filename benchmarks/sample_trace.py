"""Write the trace that the README shows: `python benchmarks/sample_trace.py >requests.txt`.

A shop's day, the same on every machine: products of which few are popular; news, the latest read
most; customers who come back to what they have just seen; and a crawler that now and then walks
through the whole shop.
"""

import random
import sys
from bisect import bisect
from itertools import accumulate

REQUESTS = 400_000
PRODUCTS = 60_000


def requests():
    """Yield the keys."""
    chance = random.Random(20_261_124)
    # The popularity of rank r is 1/r.
    ranks = list(accumulate(1 / rank for rank in range(1, PRODUCTS + 1)))
    seen = ["product:0"] * 400
    crawled = 0
    for number in range(REQUESTS):
        kind = chance.random()
        rank = bisect(ranks, chance.random() * ranks[-1])
        if number % 100_000 < 20_000 and number % 2:
            crawled += 1
            key = f"product:{crawled % PRODUCTS}"
        elif kind < 0.2:
            key = chance.choice(seen)
        elif kind < 0.4:
            key = f"news:{max(0, number // 1_000 + 300 - rank % 300)}"
        else:
            key = f"product:{rank * 7_919 % PRODUCTS}"
        seen[number % len(seen)] = key
        yield key


if __name__ == "__main__":
    sys.stdout.writelines(f"{key}\n" for key in requests())
