"""The checker of histories finds what it is for, and accuses nobody wrongly."""

import functools
import itertools
import sys
import threading
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frys_cache.errors import Backpressure, TierUnavailable
from frys_cache.testing import History, HistoryError
from frys_cache.types import MISSING

FOREVER = float("inf")


class Op(NamedTuple):
    """One operation of a history that is made up, with its times."""

    kind: str
    value: object
    start: float
    end: float
    outcome: str = "acknowledged"


def replay(history, ops, key="k"):
    """Let a history record operations at the times that they say."""
    moments = [(op.start, 0, op) for op in ops] + [(op.end, 1, op) for op in ops]
    moments.sort(key=lambda moment: moment[:2])
    recorded = {}
    for now, is_end, op in moments:
        history._clock.now = now
        if not is_end:
            if op.kind == "write":
                one = history.write(key, op.value)
            else:
                one = history.delete(key) if op.kind == "delete" else history.read(key)
            recorded[op] = one.__enter__()
        else:
            one = recorded[op]
            one.outcome = op.outcome
            if op.kind == "read":
                one.result = op.value
            one.__exit__(None, None, None)


class Now:
    """A clock that tells what it was set to."""

    now = 0

    def __call__(self):
        return self.now


def verdict(ops, at=None, **options):
    """Return whether a history is accepted; checked also at a moment when nobody is at work."""
    history = History(clock=Now(), **options)
    try:
        if at is not None:
            replay(history, [op for op in ops if op.end < at])
            history.check()
            ops = [op for op in ops if op.start > at]
        replay(history, ops)
        history.check()
    except HistoryError:
        return False
    return True


def explained(ops, evicts=False):
    """Try every order: whether one of them explains the history.  This is the definition."""
    ops = [op for op in ops if op.outcome != "refused"]
    if evicts:
        ops = [op for op in ops if op.kind != "read" or op.value is not MISSING]
    ops = [
        op if op.outcome == "acknowledged" else op._replace(end=FOREVER)
        for op in ops
        if op.kind != "read" or op.outcome == "acknowledged"
    ]

    @functools.cache
    def search(left, value):
        if all(op.end == FOREVER for op in left):
            return True
        for op in left:
            if any(other.end < op.start for other in left):
                continue
            rest = left - {op}
            if op.kind == "read":
                if op.value == value and search(rest, value):
                    return True
            elif search(rest, MISSING if op.kind == "delete" else op.value):
                return True
        return False

    return search(frozenset(ops), MISSING)


@st.composite
def histories(draw, deletes=True, most=6, split=False):
    """Draw a small history of one key; with a moment when nobody is at work, or None."""
    count = draw(st.integers(1, most))
    times = draw(st.permutations(range(2 * count)))
    cut = draw(st.integers(0, count)) if split else 0
    ops, written = [], 0
    plans = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["write", "read", "read"] + ["delete"] * deletes),
                st.integers(-1, count),
                st.sampled_from(["acknowledged"] * 5 + ["unknown", "unknown", "refused"]),
            ),
            min_size=count,
            max_size=count,
        )
    )
    writes = sum(kind == "write" for kind, _, _ in plans)
    for at, (kind, which, outcome) in enumerate(plans):
        start, end = sorted(times[2 * at : 2 * at + 2])
        if split:
            start, end = start % count + count * (at >= cut), end % count + count * (at >= cut)
            start, end = sorted((2 * start + 10, 2 * end + 10))
            end += 1
        value = MISSING
        if kind == "write":
            value = written
            written += 1
        elif kind == "read":
            outcome = "acknowledged"
            value = which % writes if which >= 0 and writes else MISSING
        ops.append(Op(kind, value, start, end, outcome))
    if split:
        # Times are made unique, so that none of two operations is the other.
        ops = [
            op._replace(start=op.start + at / 100, end=op.end + at / 100)
            for at, op in enumerate(ops)
        ]
        return ops, 2 * count + 9.5
    return ops, None


@settings(max_examples=300, deadline=None)
@given(histories(), st.booleans())
def test_checker_accepts_whatever_an_order_explains(drawn, evicts):
    """Catch a false alarm, which costs a day."""
    ops, _ = drawn
    if explained(ops, evicts):
        assert verdict(ops, evicts=evicts)


@settings(max_examples=300, deadline=None)
@given(histories(deletes=False), st.booleans())
def test_checker_without_deletes_is_exact(drawn, evicts):
    """Catch a wrong history that passes."""
    ops, _ = drawn
    assert verdict(ops, evicts=evicts) == explained(ops, evicts)


@settings(max_examples=300, deadline=None)
@given(histories())
def test_checker_with_deletes_is_exact_where_reads_may_be_evicted(drawn):
    """Catch a wrong history of a cache that passes."""
    ops, _ = drawn
    assert verdict(ops, evicts=True) == explained(ops, evicts=True)


@settings(max_examples=300, deadline=None)
@given(histories(split=True), st.booleans())
def test_checker_between_times_accepts_whatever_an_order_explains(drawn, evicts):
    """Catch a false alarm about what was forgotten at a check."""
    ops, at = drawn
    if explained(ops, evicts):
        assert verdict(ops, at, evicts=evicts)


@settings(max_examples=300, deadline=None)
@given(histories(split=True))
def test_checker_between_times_finds_as_much(drawn):
    """Catch a check that forgets what a later read is wrong about."""
    ops, at = drawn
    assert verdict(ops, at, evicts=True) == explained(ops, evicts=True)
    if all(op.kind != "delete" for op in ops):
        assert verdict(ops, at) == explained(ops)


# ---- what each rule is for -----------------------------------------------------------------------

W1, W2 = Op("write", "old", 0, 1), Op("write", "new", 2, 3)


@pytest.mark.parametrize(
    ("ops", "reason"),
    [
        ([Op("read", "x", 0, 1)], "never written"),
        ([Op("read", "old", 0, 1), Op("write", "old", 2, 3)], "before its write began"),
        ([W1, W2, Op("read", "old", 4, 5)], "was read after"),
        ([W1, Op("delete", MISSING, 2, 3), Op("read", "old", 4, 5)], "read after a delete"),
        ([W1, Op("read", MISSING, 2, 3)], "nothing was found"),
        (
            [W1, Op("delete", MISSING, 2, 3), Op("write", "new", 4, 5), Op("read", MISSING, 6, 7)],
            "nothing was found",
        ),
        (
            [
                Op("write", "a", 0, 100),
                Op("write", "b", 1, 101),
                Op("read", "a", 2, 3),
                Op("read", "b", 4, 5),
                Op("read", "b", 6, 7),
                Op("read", "a", 8, 9),
            ],
            "has to be still",
        ),
        (
            # A newer value was seen: the older one must not be seen by a read that began later.
            [W1, Op("write", "new", 2, 100), Op("read", "new", 3, 4), Op("read", "old", 5, 6)],
            "was read after",
        ),
        (
            # One delete cannot come both before the newer put and after it.
            [
                W1,
                Op("delete", MISSING, 2, 20),
                Op("read", MISSING, 3, 4),
                Op("write", "new", 5, 6),
                Op("read", MISSING, 7, 8),
            ],
            "nothing was found",
        ),
        (
            [Op("write", "x", 0, 1, "refused"), Op("read", "x", 2, 3)],
            "was refused",
        ),
        (
            # It was unknown, was seen, and is gone since.
            [W1, Op("write", "x", 2, 3, "unknown"), Op("read", "x", 4, 5), Op("read", "old", 6, 7)],
            "was read after",
        ),
    ],
)
def test_wrong_history_is_refused_and_the_read_named(ops, reason):
    """Catch a rule that is not kept."""
    assert not explained(ops)
    history = History(clock=Now())
    replay(history, ops)
    with pytest.raises(HistoryError, match=reason) as caught:
        history.check()
    wrong = max((op for op in ops if op.kind == "read"), key=lambda op: op.start)
    assert (caught.value.read.start, caught.value.read.result) == (wrong.start, wrong.value)
    assert caught.value.read in caught.value.around
    assert repr(wrong.value) in str(caught.value)
    with pytest.raises(HistoryError):
        history.check()


@pytest.mark.parametrize(
    "ops",
    [
        [W1, Op("write", "new", 2, 9), Op("read", "new", 3, 4), Op("read", "new", 5, 6)],
        [W1, Op("write", "new", 2, 9), Op("read", "old", 3, 4), Op("read", "new", 5, 6)],
        [W1, Op("write", "x", 2, 3, "unknown"), Op("read", "old", 4, 5), Op("read", "x", 6, 7)],
        [W1, Op("delete", MISSING, 2, 3, "unknown"), Op("read", "old", 4, 5)],
        [W1, Op("delete", MISSING, 2, 3, "unknown"), Op("read", MISSING, 4, 5)],
        [W1, Op("write", "x", 2, 3, "refused"), Op("read", "old", 4, 5)],
        [Op("read", None, 0, 1), W1._replace(start=2, end=3)],
    ],
)
def test_right_history_is_accepted(ops):
    """Catch an unknown outcome that is taken for one or the other."""
    assert verdict(ops)


def test_first_wrong_read_of_all_keys_is_named():
    """Catch an error about a consequence, or about another key."""
    history = History(clock=Now())
    replay(history, [W1, W2, *(Op("read", "old", at, at + 1) for at in range(8, 20, 2))], "a")
    replay(history, [W1, W2, Op("read", "old", 6, 7)], "b")
    with pytest.raises(HistoryError) as caught:
        history.check()
    assert (caught.value.read.key, caught.value.read.start) == ("b", 6)


def test_evicts_allows_nothing_but_not_an_old_value():
    """Catch an eviction that is taken for a loss, or excuses one."""
    gone = [W1, Op("read", MISSING, 4, 5), Op("read", "old", 6, 7)]
    assert verdict(gone, evicts=True)
    assert not verdict(gone)
    assert not verdict([*gone[:2], W2, Op("read", "old", 6, 7)], evicts=True)


def test_lossy_key_may_lose_what_was_acknowledged():
    """Catch a loss that is held against a key that may lose."""
    ops = [W1, W2, Op("read", "old", 4, 5)]
    assert verdict(ops, lossy={"k"})
    assert not verdict(ops, lossy={"other"})
    seen = [W1, W2, Op("read", "new", 4, 5), Op("read", "old", 6, 7)]
    assert not verdict(seen, lossy={"k"})


def test_outcome_comes_from_how_the_block_ends():
    """Catch a failed write that counts as done, or a refusal that may have been."""
    history = History()
    with pytest.raises(TierUnavailable), history.write("k", 1) as unknown:
        raise TierUnavailable
    with pytest.raises(Backpressure), history.write("k", 2) as refused:
        raise Backpressure
    with pytest.raises(TierUnavailable), history.read("k"):
        raise TierUnavailable
    with history.delete("k") as given:
        given.outcome = "unknown"
    outcomes = [unknown.outcome, refused.outcome, given.outcome]
    assert outcomes == ["unknown", "refused", "unknown"]
    with pytest.raises(RuntimeError, match="result"), history.read("k"):
        pass
    assert history.check() == 3
    assert history.check() == 0


def test_misuse_is_refused():
    """Catch a history that means nothing, and is accepted."""
    history = History()
    for value in (None, MISSING):
        with pytest.raises(ValueError, match="absence"):
            history.write("k", value)
    with history.write("k", 1), pytest.raises(RuntimeError, match="under way"):
        history.check()
    with history.write("k", 1):
        pass
    with pytest.raises(ValueError, match="twice"):
        history.check()


# ---- caches that are wrong, under threads --------------------------------------------------------


class Right:
    """A cache that is right: a dict, and a lock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.data = {}

    def put(self, key, value):
        with self.lock:
            self.data[key] = value

    def delete(self, key):
        with self.lock:
            self.data.pop(key, None)

    def get(self, key):
        with self.lock:
            return self.data.get(key, MISSING)


class StaleAfterDelete(Right):
    """A copy stays behind: what a level above shows of what is gone below."""

    def delete(self, key):
        pass


class StaleAfterPut(Right):
    """Every third put is not seen for a while."""

    def __init__(self):
        super().__init__()
        self.late = {}
        self.turn = itertools.count()

    def put(self, key, value):
        if next(self.turn) % 3:
            super().put(key, self.late.pop(key, value))
        else:
            self.late[key] = value


class LostUpdate(Right):
    """Every fifth put is acknowledged and forgotten."""

    def __init__(self):
        super().__init__()
        self.turn = itertools.count()

    def put(self, key, value):
        if next(self.turn) % 5:
            super().put(key, value)


class FlipFlop(Right):
    """Two levels that were never made equal, read in turns."""

    def __init__(self):
        super().__init__()
        self.other = {}
        self.turn = itertools.count()

    def put(self, key, value):
        (self.other if next(self.turn) % 2 else self.data)[key] = value

    def get(self, key):
        return (self.other if next(self.turn) % 2 else self.data).get(key, MISSING)


class Future(Right):
    """It shows what nobody has put yet."""

    def get(self, key):
        value = super().get(key)
        return value if value is MISSING else value + 1_000_000


def storm(cache, history, threads=8, turns=400, rounds=2, keys=3):
    """Let threads use a cache at once, and check at every quiet point."""
    numbers = itertools.count(1)
    checked = 0

    def work(seed):
        for turn in range(turns):
            key = f"key{(seed + turn) % keys}"
            kind = (seed * 7 + turn * 5) % 10
            if kind < 3:
                value = next(numbers)
                with history.write(key, value):
                    cache.put(key, value)
            elif kind == 3:
                with history.delete(key):
                    cache.delete(key)
            else:
                with history.read(key) as op:
                    op.result = cache.get(key)

    for _ in range(rounds):
        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        checked += history.check()
    return checked


@pytest.fixture
def _often():
    """Switch between threads as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("evicts", [False, True])
@pytest.mark.parametrize("wrong", [StaleAfterDelete, StaleAfterPut, LostUpdate, FlipFlop, Future])
def test_wrong_cache_is_found(wrong, evicts):
    """Catch a checker that under threads sees nothing but concurrency."""
    with pytest.raises(HistoryError):
        storm(wrong(), History(evicts=evicts))


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("evicts", [False, True])
def test_right_cache_is_accepted(evicts):
    """Catch a checker that accuses a cache for what its own recording does."""
    history = History(evicts=evicts)
    assert storm(Right(), history, turns=1_000, rounds=3) == 24_000
    assert all(len(register.values) <= 8 for register in history._registers.values())
    assert not history._logs or not any(log.done for log in history._logs)


@pytest.mark.usefixtures("_often")
def test_right_cache_with_faults_is_accepted():
    """Catch an unknown outcome that is held against the cache."""

    class Faulty(Right):
        turn = itertools.count()

        def put(self, key, value):
            turn = next(self.turn) % 7
            if turn == 1:
                raise TierUnavailable
            if turn == 2:
                raise Backpressure
            super().put(key, value)
            if turn == 3:
                raise TierUnavailable

    class Caught:
        """Go on after a fault, as an application does."""

        def __init__(self, operation):
            self.operation = operation

        def __enter__(self):
            return self.operation.__enter__()

        def __exit__(self, kind, error, trace):
            self.operation.__exit__(kind, error, trace)
            return kind is not None and issubclass(kind, (TierUnavailable, Backpressure))

    class Forgiving(History):
        def write(self, key, value):
            return Caught(super().write(key, value))

    assert storm(Faulty(), Forgiving()) == 6_400
