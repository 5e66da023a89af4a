"""A cache described as a value: its fields, what they may be, comparison, copies and repr."""

import copy
import dataclasses
import inspect
import pickle
from datetime import timedelta
from pathlib import Path

import pytest
from described import SAID, WITHOUT_STEP, WRONG, Disk, Serializer, heard, spoken

from frys_cache import (
    CacheBuilder,
    CacheConfig,
    ConfigurationError,
    EvictionPolicy,
    FrysCache,
    LfuPolicy,
    TtlPolicy,
)


def test_config_fields_are_the_arguments_of_the_cache():
    """Catch a field that the cache does not take, one that is missing, and another default."""
    arguments = inspect.signature(FrysCache.__init__).parameters.values()
    taken = {one.name: one.default for one in arguments if one.name != "self"}
    assert {one.name: one.default for one in dataclasses.fields(CacheConfig)} == taken


def test_config_defaults_are_the_contract():
    """Catch a default that changed in both places."""
    config = CacheConfig(1)
    shown = {one.name: getattr(config, one.name) for one in dataclasses.fields(config)}
    assert shown == {
        "max_entries": 1,
        "max_size_bytes": None,
        "policy": "auto",
        "ttl": None,
        "idle": None,
        "sizeof": None,
        "on_evict": None,
        "persistent": None,
        "serializer": None,
        "compression": True,
        "compression_level": 3,
        "namespace": "default",
        "name": None,
        "max_key_size": 65_536,
        "max_value_size": 8_388_608,
        "mode": "resilient",
        "consistency": "write-through",
        "backend": None,
        "loader": None,
        "loader_many": None,
        "negative_ttl": None,
        "stale_ttl": None,
        "jitter": 0.0,
        "soft_timeout": None,
        "loader_timeout": None,
        "lock_timeout": None,
        "refresh_ahead": None,
    }


@pytest.mark.parametrize("name", ["distributed", "lease", "coherence", "l2_trust", "maxsize"])
def test_config_unknown_field_raises(name):
    """Catch a field that is swallowed and has no effect."""
    with pytest.raises(TypeError, match=name):
        CacheConfig(10, **{name: None})


def test_config_takes_only_the_bound_by_position():
    """Catch an order of fields that becomes a promise."""
    with pytest.raises(TypeError):
        CacheConfig(10, 1000)


@pytest.mark.parametrize("field", ["max_entries", "ttl", "nonsense"])
def test_config_never_changes(field):
    """Catch a value that changes under the caches and threads that share it."""
    config = CacheConfig(10)
    # Slots, frozen and super() do not agree on the class of the error for an unknown name.
    with pytest.raises((AttributeError, TypeError)):
        setattr(config, field, 5)
    assert config == CacheConfig(10)


def test_config_arguments_are_what_differs_and_a_dict_of_its_own():
    """Catch defaults that are passed along, and a dict through which a config changes."""
    config = CacheConfig(10, policy=EvictionPolicy.AUTO, compression=True, ttl=None, name="n")
    assert config.arguments() == {"max_entries": 10, "name": "n"}
    config.arguments()["max_entries"] = 5
    assert config == CacheConfig(10, name="n")
    full = {**{field: value for field, (value, _) in SAID.items()}, **WITHOUT_STEP}
    assert CacheConfig(**full).arguments() == full
    assert list(full) == list(CacheConfig(**full).arguments())


@pytest.mark.parametrize("field", [*SAID, *WITHOUT_STEP])
def test_config_replaced_field_makes_another(field):
    """Catch a field that comparison or hash forgets, or that `replace` cannot reach."""
    value = SAID[field][0] if field in SAID else WITHOUT_STEP[field]
    config = CacheConfig(max_entries=10, persistent="./here.db")
    other = dataclasses.replace(config, **{field: value})
    assert other != config
    assert dataclasses.replace(other, **{field: getattr(config, field)}) == config
    again = dataclasses.replace(config, **{field: value})
    assert again == other
    assert len({config, other, again}) == 2


def test_config_replace_checks_again():
    """Catch a way around the checks."""
    with pytest.raises(ConfigurationError, match="compression_level"):
        dataclasses.replace(CacheConfig(10), compression_level=0)


def test_config_equality_asks_no_tier_for_its_content():
    """Catch a comparison that reads two whole disks, or takes two stores for one."""
    disk = Disk()
    assert CacheConfig(persistent=disk) == CacheConfig(persistent=disk)
    assert CacheConfig(persistent=disk) != CacheConfig(persistent=Disk())
    assert CacheConfig(persistent=disk) != CacheConfig(persistent="./cache.db")
    assert hash(CacheConfig(persistent=disk)) == hash(CacheConfig(persistent=disk))
    assert CacheConfig(persistent=disk).arguments() == {"persistent": disk}


def test_config_with_unhashable_field_is_unhashable():
    """Catch a hash that is made up where equal values could have different ones."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(CacheConfig(10, persistent="./cache.db", serializer=[]))


def test_config_is_no_other_thing():
    """Catch a comparison that takes a builder, a tuple or a dict for a config."""
    assert CacheConfig(10) not in (CacheBuilder().max_entries(10), (10,), {"max_entries": 10})


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_config_pickles(protocol):
    """Catch a frozen value with slots that cannot be restored."""
    config = CacheConfig(10, ttl=timedelta(hours=1), policy=LfuPolicy(), on_evict=heard)
    twin = pickle.loads(pickle.dumps(config, protocol))
    assert twin == config
    assert hash(twin) == hash(config)
    assert copy.deepcopy(config) == config


def test_config_repr_shows_what_differs_and_evaluates():
    """Catch a repr of sixteen defaults, or one that is no Python."""
    config = CacheConfig(
        10, policy=EvictionPolicy.LRU, ttl=60, persistent="./cache.db", compression=False
    )
    text = "max_entries=10, policy='lru', ttl=60, persistent='./cache.db', compression=False"
    assert repr(config) == f"CacheConfig({text})"
    assert eval(repr(config)) == config
    assert repr(CacheConfig(5, policy=TtlPolicy(3))) == (
        "CacheConfig(max_entries=5, policy=TtlPolicy(ttl=3))"
    )


@pytest.mark.parametrize("make", [CacheConfig, spoken])
def test_repr_shows_no_secret_no_content_and_no_address(make):
    """Catch a secret in a log, a disk that is printed, or a text that differs in every run."""
    shown = repr(make(persistent=Disk(), on_evict=heard))
    shown += repr(make(persistent="./cache.db", serializer=Serializer()))
    assert "sesame" not in shown
    assert "Serializer(...)" in shown
    assert "Disk(...)" in shown
    assert "heard" in shown
    assert " at 0x" not in shown


@pytest.mark.parametrize(("field", "value", "advice"), WRONG)
def test_config_wrong_value_names_field_value_and_remedy(field, value, advice):
    """Catch a value that shows its mistake only in a tier, or a message that does not help."""
    with pytest.raises(ConfigurationError) as caught:
        CacheConfig(10, **{field: value})
    message = str(caught.value)
    assert field in message
    assert advice in message
    if not isinstance(value, (bytes, dict, type)):
        assert repr(value) in message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("compression_level", 1),
        ("compression_level", 22),
        ("namespace", "x" * 255),
        ("namespace", "ü" * 127),
        ("name", "x"),
        ("max_key_size", 1),
        ("max_value_size", 1),
        ("persistent", Path("cache.db")),
        ("persistent", "cache-{pid}.db"),
        ("mode", "strict"),
    ],
)
def test_config_value_at_its_limit_is_taken(field, value):
    """Catch a limit that is off by one, or a spelling that is refused."""
    assert getattr(CacheConfig(10, **{field: value}), field) == value
