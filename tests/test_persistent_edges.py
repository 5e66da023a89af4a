"""What a persistent cache refuses, how it is copied, and what it says where it has no database."""

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import rocksdict  # noqa: F401 - the cache cannot do without it
from child import run_quietly

from frys_cache import CacheClosed, CacheTimeout, ConfigurationError, TierUnavailable
from frys_cache.codec.pickles import Pickle
from frys_cache.errors import CacheError
from frys_cache.tiers.persistent import PersistentCache


@pytest.fixture
def cache(tmp_path):
    with PersistentCache(tmp_path / "db") as cache:
        cache["a"] = 1
        yield cache


def names(path):
    """Return what is in a directory."""
    return sorted(one.name for one in path.iterdir())


OTHER = """
import sys, subprocess
from frys_cache.tiers.persistent import PersistentCache
with PersistentCache(sys.argv[1]) as cache:
    cache["a"] = 1
    print(cache.alone, flush=True)
    subprocess.run([sys.executable, "-c", '''
import sys
from frys_cache.tiers.persistent import PersistentCache
cache = PersistentCache(sys.argv[1], on_locked="memory-only")
print(cache.alone, "a" in cache, cache.incr("n"), cache.incr("n"), cache.add("a", 1))
''', sys.argv[1]], check=True)
"""


def test_alone_says_that_there_is_no_database(tmp_path):
    """Catch a counter of a memory-only cache that looks like one that is kept."""
    assert run_quietly(OTHER, tmp_path / "db").split() == ["False", "True", "False", *"11", "True"]


def test_quarantined_says_where_the_damage_is(tmp_path):
    """Catch a cache that starts empty and cannot say why."""
    path = tmp_path / "db"
    with PersistentCache(path) as cache:
        cache["a"] = 1
        assert cache.quarantined is None
    (path / "CURRENT").write_bytes(b"x")
    with PersistentCache(path) as cache:
        assert "a" not in cache
        assert Path(cache.quarantined).is_dir()
    assert Path(cache.quarantined).is_dir()


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))]
)
def test_copy_shares_the_database_and_is_counted(cache, again):
    """Catch a copy whose end is the end of the original."""
    other = again(cache)
    assert other["a"] == 1
    assert other.tier is cache.tier
    other.close()
    cache["b"] = 2
    assert cache["b"] == 2


def test_copy_of_a_closed_cache_or_of_a_secret_is_refused(tmp_path):
    """Catch a pickle that carries a secret, and a copy that brings a closed cache back."""
    secret = Pickle(secret=b"0123456789abcdef")
    with PersistentCache(tmp_path / "db", serializer=secret) as cache:
        for act in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="pass serializer= anew"):
                act(cache)
    for act in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(CacheClosed):
            act(cache)


def test_snapshot_at_a_path_used_before_opens(cache, tmp_path):
    """Catch a snapshot that is put aside as damaged: what was known was of another database."""
    target = tmp_path / "copy"
    with PersistentCache(target) as other:
        for n in range(1_000):
            other[n] = os.urandom(100)
    with PersistentCache(target):
        pass
    for file in target.iterdir():
        file.unlink()
    target.rmdir()
    cache.snapshot(target)
    for _ in range(2):
        with PersistentCache(target, on_corrupt="raise") as other:
            assert dict(other.items()) == {"a": 1}
    assert cache["a"] == 1


def test_snapshot_into_itself_or_onto_what_exists_is_refused_with_both_names(cache, tmp_path):
    """Catch a snapshot inside of the directory that it copies."""
    own = tmp_path / "db"
    before = names(tmp_path)
    for path in (own, own / "inner", own / "a" / ".." / "b", tmp_path):
        with pytest.raises(ConfigurationError, match=re.escape(str(own))):
            cache.snapshot(path)
    for path, kind in ((b"x", TypeError), (3, TypeError), ("", ConfigurationError)):
        with pytest.raises(kind, match="path"):
            cache.snapshot(path)
    with pytest.raises(ConfigurationError, match="NUL"):
        cache.snapshot("a\0b")
    assert names(tmp_path) == before


def test_refused_path_leaves_nothing_behind(tmp_path):
    """Catch a lock file beside a file, a foreign directory or a loop."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "taken.frys").mkdir()
    before = names(tmp_path)
    wrong = {
        "file": "is a file",
        "foreign": "notes.txt",
        "foreign/..": "directory of its own",
        "loop": "loop of symbolic links",
        "loop/db": "loop of symbolic links",
        "taken": "taken.frys",
    }
    for name, says in wrong.items():
        with pytest.raises(ConfigurationError, match=says) as caught:
            PersistentCache(f"{tmp_path}/{name}")
        assert str(tmp_path) in str(caught.value)
    assert names(tmp_path) == before


def test_path_that_cannot_be_one_is_refused_by_a_typed_error(tmp_path):
    """Catch a bare ValueError, OSError or RecursionError of the depths below."""
    wrong = ["a\0b", "a\ud800b", "", "x/" * 3_000, "x" * 300]
    for name in wrong:
        path = f"{tmp_path}/{name}" if name else name
        with pytest.raises((ConfigurationError, TierUnavailable)):
            PersistentCache(path)
    for value in (b"x", 3, None, ["x"]):
        with pytest.raises(TypeError, match="path"):
            PersistentCache(value)
    assert names(tmp_path) == []


LOST = """
    import os, sys
    from frys_cache import TierUnavailable
    from frys_cache.tiers.persistent import PersistentCache
    os.mkdir(sys.argv[1]); os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])
    try:
        PersistentCache("db")
    except TierUnavailable as error:
        print(error)
"""


def test_relative_path_in_a_removed_directory_says_so(tmp_path):
    """Catch a bare FileNotFoundError that names nothing."""
    assert "working directory was removed" in run_quietly(LOST, tmp_path / "gone")


def test_sentinel_with_a_huge_generation_is_as_if_nothing_were_known(tmp_path):
    """Catch an OverflowError at the opening."""
    path = tmp_path / "db"
    with PersistentCache(path) as cache:
        cache["a"] = 1
    sentinel = Path(f"{path}.frys")
    text = sentinel.read_text("ascii")
    sentinel.write_text(re.sub(r'"generation": \d+', f'"generation": {1 << 80}', text), "ascii")
    with PersistentCache(path, on_corrupt="raise") as cache:
        assert cache["a"] == 1


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("ttl", "soon"),
        ("compression", "zip"),
        ("compression_level", "x"),
        ("max_size_bytes", "1G"),
        ("min_free_bytes", 1.5),
        ("serializer", "pickle"),
        ("namespace", 17),
    ],
)
def test_wrong_type_is_refused_by_name_and_value(tmp_path, argument, value):
    """Catch an error that does not say which argument or what was given."""
    with pytest.raises(TypeError, match=str(value)) as caught:
        PersistentCache(tmp_path / "db", **{argument: value})
    assert argument in str(caught.value)
    if argument == "compression_level":
        with pytest.raises(TypeError):
            PersistentCache(tmp_path / "db", compression=False, compression_level=value)
    assert names(tmp_path) == []


def test_reserve_of_a_second_opener_must_be_the_same(cache, tmp_path):
    """Catch a reserve that is asked for and silently not kept."""
    with pytest.raises(ConfigurationError, match=r"min_free_bytes.*None, not 7"):
        PersistentCache(tmp_path / "db", min_free_bytes=7, namespace="x")
    assert cache["a"] == 1
    PersistentCache(tmp_path / "db", namespace="x").close()


def test_flush_takes_a_timeout(cache):
    """Catch a timeout that is ignored, or one that is no time."""
    cache.flush()
    cache.flush(timeout=30)
    for value in ("1", b"", True, [1]):
        with pytest.raises(TypeError, match="timeout"):
            cache.flush(timeout=value)
    for value in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout"):
            cache.flush(timeout=value)
    with cache.tier.rocks._door, pytest.raises(CacheTimeout, match=r"timeout=0\.01"):
        cache.flush(timeout=0.01)
    cache.flush(timeout=30)


SECONDARY = """
import os, signal, sys
from frys_cache.tiers.persistent import PersistentCache
cache = PersistentCache(sys.argv[1], on_locked="secondary")
assert cache["a"] == 1
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
cache.close()
"""


def test_leftovers_of_a_killed_secondary_are_removed_by_the_next(cache, tmp_path):
    """Catch a directory for each kill -9 that stays for ever."""
    cache.flush()
    home = str(Path(sys.modules["frys_cache"].__file__).parents[1])
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    env = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": home}
    (scratch / "frys-secondary-x").mkdir()  # of nobody we know
    for how, left in (("killed", 2), ("killed", 2), ("closed", 1)):
        subprocess.run(
            [sys.executable, "-c", SECONDARY, str(tmp_path / "db"), how], env=env, check=False
        )
        assert len(names(scratch)) == left


def test_errors_are_all_typed():
    """Catch a timeout that is no error of a cache."""
    assert issubclass(CacheTimeout, CacheError)
