"""How caches are described in tests: every field with a value, its step, and what cannot be."""

from frys_cache import CacheBuilder

MIB = 1024 * 1024


def weigh(key, value):
    """Stand where pickle can find it."""
    return 1


def heard(key, value, cause):
    """Stand where pickle can find it."""


def load(key):
    """Stand where pickle can find it."""


class Table:
    """A backend, as far as a configuration looks."""

    def load(self, key):
        return key

    def store(self, key, value):
        pass

    def delete(self, key):
        pass

    def __eq__(self, other):
        return isinstance(other, Table)

    def __hash__(self):
        return 1


TABLE = Table()


class Disk:
    """Something like a tier on disk: it can be scanned and closed, and tells no comparison."""

    def __init__(self, content=()):
        self.content = content

    def scan(self, prefix=b""):
        return iter(self.content)

    def close(self):
        pass

    def __eq__(self, other):
        raise AssertionError("a tier was compared by its content")

    __hash__ = None

    def __repr__(self):
        raise AssertionError("a tier was printed with its content")


class Serializer:
    """A serializer that would print its secret."""

    def __repr__(self):
        return "Serializer(secret='open sesame')"


# Every field, a value that is not its default, and the step that says it.
SAID = {
    "max_entries": (7, lambda b, v: b.max_entries(v)),
    "max_size_bytes": (7 * MIB, lambda b, v: b.max_size_bytes(v)),
    "policy": ("lfu", lambda b, v: b.eviction_policy(v)),
    "ttl": (60, lambda b, v: b.with_ttl(v)),
    "idle": (30.5, lambda b, v: b.with_memory(idle=v)),
    "sizeof": (weigh, lambda b, v: b.with_memory(sizeof=v)),
    "on_evict": (heard, lambda b, v: b.with_memory(on_evict=v)),
    "persistent": ("./cache.db", lambda b, v: b.with_persistent(v)),
    "serializer": (("any", "object"), lambda b, v: b.with_serializer(v)),
    "compression": (False, lambda b, v: b.with_compression(v)),
    "compression_level": (5, lambda b, v: b.compression_level(v)),
    "namespace": ("users", lambda b, v: b.namespace(v)),
    "name": ("sessions", lambda b, v: b.name(v)),
    "consistency": ("write-around", lambda b, v: b.with_consistency(v)),
    "backend": (TABLE, lambda b, v: b.with_backend(v)),
    "loader": (load, lambda b, v: b.with_loader(v)),
}
WITHOUT_STEP = {
    "max_key_size": 100,
    "max_value_size": 1000,
    "mode": "strict",
    "loader_many": load,
    "negative_ttl": 5,
    "stale_ttl": 60,
    "jitter": 0.1,
    "soft_timeout": 0.05,
    "loader_timeout": 2,
    "lock_timeout": 3,
    "refresh_ahead": "xfetch",
}


WRONG = [
    ("consistency", "write-behind", "refresh-ahead"),
    ("consistency", None, "write-through"),
    ("jitter", 1.0, "below 1"),
    ("refresh_ahead", 1.5, "xfetch"),
    ("stale_ttl", -1, "seconds"),
    ("loader_timeout", -1, "seconds"),
    ("persistent", 5, "path"),
    ("persistent", b"./cache.db", "path"),
    ("persistent", "", "path"),
    ("persistent", True, "path"),
    ("persistent", {"a": 1}, "path"),
    ("persistent", Disk, "path"),
    ("compression", 5, "compression_level"),
    ("compression", "yes", "True or False"),
    ("compression", None, "True or False"),
    ("compression_level", 0, "1 to 22"),
    ("compression_level", 23, "1 to 22"),
    ("compression_level", -1, "1 to 22"),
    ("compression_level", 3.0, "1 to 22"),
    ("compression_level", True, "1 to 22"),
    ("compression_level", None, "1 to 22"),
    ("namespace", "", "255"),
    ("namespace", "x" * 256, "255"),
    ("namespace", "ü" * 128, "255"),
    ("namespace", "\ud800", "surrogates"),
    ("namespace", b"users", "str"),
    ("namespace", None, "str"),
    ("name", "", "None"),
    ("name", 5, "None"),
    ("max_key_size", 0, "at least 1"),
    ("max_key_size", None, "at least 1"),
    ("max_value_size", -5, "at least 1"),
    ("max_value_size", 1e6, "at least 1"),
    ("max_value_size", True, "at least 1"),
    ("mode", "careful", "resilient"),
    ("mode", None, "strict"),
    ("mode", ["strict"], "strict"),
]


def spoken(**said):
    """Return a builder that has said what the steps can say."""
    builder = CacheBuilder()
    for field, value in said.items():
        builder = SAID[field][1](builder, value)
    return builder
