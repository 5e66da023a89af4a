"""A chain that writes down what its tiers and its backend are asked to change, in order."""

from chained import over

from frys_cache import MISSING, ConsistencyManager
from frys_cache.testing import FaultyTier
from frys_cache.tiers.standin import StandInCache

WRITES = ("put_one", "write", "drop", "swap")


class Refused(Exception):
    """What the backend raises."""


class Recorded:
    """A tier that writes down what it is asked to change."""

    def __init__(self, tier, name, calls):
        self.__dict__.update(_tier=tier, _name=name, _calls=calls)

    def __getattr__(self, name):
        found = getattr(self._tier, name)
        if name not in WRITES:
            return found

        def call(*arguments):
            self._calls.append(f"{self._name}.{name}")
            return found(*arguments)

        return call

    def __setattr__(self, name, value):
        setattr(self._tier, name, value)


class Backend:
    """A backend of rows that writes down its calls, and fails when `trouble` says so."""

    def __init__(self, calls=None):
        self.calls = [] if calls is None else calls
        self.rows = {}
        self.trouble = None  # "before", "after"
        self.poison = set()

    def _do(self, name, key, work):
        self.calls.append(f"backend.{name}")
        if self.trouble == "before" or key in self.poison:
            raise Refused(key)
        work()
        if self.trouble == "after":
            raise Refused(key)

    def load(self, key):
        return self.rows.get(key, MISSING)

    def store(self, key, value):
        self._do("store", key, lambda: self.rows.__setitem__(key, value))

    def delete(self, key):
        self._do("delete", key, lambda: self.rows.pop(key, None))


class Chain:
    """A cache over so many tiers and perhaps a backend, all of which write down their calls."""

    def __init__(self, count, backend, strategy="write-through", **options):
        self.calls = []
        self.backend = Backend(self.calls) if backend else None
        self.levels = [StandInCache(name) for name in ("upper", "lower")[2 - count :]]
        self.faults = {}
        for level in self.levels:
            self.faults[level.name] = FaultyTier(level.tier)
            level.tier = Recorded(self.faults[level.name], level.name, self.calls)
        if strategy == "write-back":
            strategy = ConsistencyManager(strategy, durability="memory", max_delay=3600)
        if self.backend is not None:
            options["backend"] = self.backend
        self.cache = over(self.levels, consistency=strategy, **options)

    def below(self, name, key="a"):
        """Return what the tier of this name has, whatever the chain thinks of it."""
        (level,) = (one for one in self.levels if one.name == name)
        code = level.codec.key(key)
        record = self.faults[name]._tier.read_one(code)
        return MISSING if record is None else level.codec.decode(code, record)[0]

    def script(self, name, steps, *operations):
        """Have the next calls of a tier, of these operations or any, go as these steps say."""
        faults = self.faults[name]._faults
        faults.script = iter(steps)
        if operations:
            faults.operations = frozenset(operations)

    def took(self, act):
        """Return what was called meanwhile."""
        self.calls.clear()
        act(self.cache)
        return list(self.calls)

    def reads(self, key="a"):
        """Return what is read with memory and without."""
        here = self.cache.get(key, MISSING)
        self.cache._forget(key)
        return here, self.cache.get(key, MISSING)
