"""What happens before and around the opening of a database: whose it is, and whether it is whole.

One process may have it.  The owner holds a lock on `<path>.frys.lock`, a file beside the directory
with its process id, so that whoever comes second learns in under a millisecond whom to ask.  This
lock, not that of RocksDB, covers also what must not be done by two: setting a damaged directory
aside and writing the sentinel.  It is an flock and not the fcntl lock that RocksDB uses, because
that one is lost as soon as anything in the process closes the file.

A damaged database is never repaired and never opened as what is left of it: an older state can hold
values that have been replaced since.  It is set aside whole, by renaming the directory, or refused.
Where nothing is known of a directory, its files are hard-linked aside before RocksDB sees it, for
an opening that goes wrong deletes them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from frys_cache.errors import (
    CacheError,
    ConfigurationError,
    IntegrityError,
    TierLockedError,
    TierUnavailable,
)
from frys_cache.tiers import sentinel
from frys_cache.tiers.handle import FAMILIES, Rocks
from frys_cache.tiers.rocks import open_rocks

__all__ = [
    "Opened",
    "close_primary",
    "copy_to",
    "forget_locks",
    "open_primary",
    "open_secondary",
    "release",
    "resolve",
]

log = logging.getLogger("frys_cache")

GENERATION: Final = b"generation"

# The locks that this process holds; a forked child must close its copies, or the lock would outlive
# the owner.
_held: set[int] = set()


@dataclass(slots=True)
class Opened:
    """An open database and what its opening has shown."""

    rocks: Rocks
    lock: int | None
    generation: int
    quarantined: str | None = None
    damage: str | None = None


def resolve(path: str | os.PathLike[str]) -> str:
    """Return the real path, with `{pid}` replaced by the number of this process."""
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"path must be a str or a path of str, not {path!r}")
    if not name:
        raise ConfigurationError("path must not be empty: give the directory of the database")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"path must be valid text, not {name!r}: rename it") from None
    if "\0" in name:
        raise ConfigurationError(f"path must not contain NUL, as {name!r} does")
    try:
        real = os.path.realpath(name.replace("{pid}", str(os.getpid())))
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            Path(real).stat()
    except FileNotFoundError:
        raise TierUnavailable(
            f"the relative path {name!r} leads nowhere, for the working directory was removed: "
            "give an absolute path"
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigurationError(f"path {name!r} is a loop of symbolic links") from None
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigurationError(
                f"path is too long for the file system with {len(name)} characters: {name[:80]!r}"
            ) from None
        raise TierUnavailable(f"cannot open {real!r}: {error}") from error
    return real


def open_primary(path: str, on_corrupt: str) -> Opened:
    """Open the database in the directory `path` for writing, or a new one.

    on_corrupt: "quarantine" renames a damaged directory and starts empty, "raise" refuses.
    Raises TierLockedError, IntegrityError, TierUnavailable, ConfigurationError.
    """
    with contextlib.suppress(FileNotFoundError):  # its owner is setting it aside
        _refuse_stranger(path)
    lock = _hold(path)
    try:
        _refuse_stranger(path)
        opened = _open_whole(path, on_corrupt, lock)
    except OSError as error:
        release(lock)
        if isinstance(error, CacheError):
            raise
        raise TierUnavailable(f"cannot open {path!r}: {error}") from error
    except BaseException:
        release(lock)
        raise
    seen = sentinel.Sentinel(generation=opened.generation, sequence=opened.rocks.sequence())
    _write_sentinel(path, seen)
    return opened


def close_primary(opened: Opened, path: str) -> None:
    """Close the database, say in the sentinel that all is written, and let others open it.

    Raises what the closing raised.  If that was damage, the sentinel says so: what is opened the
    next time would soon come to where nothing can be written again.
    """
    rocks = opened.rocks
    seen = sentinel.Sentinel(clean=True, generation=opened.generation)
    try:
        try:
            rocks.flush()
            seen.entries, seen.empty = rocks.estimate(), is_empty(rocks)
            seen.sequence = rocks.sequence()
        finally:
            rocks.close()
        _write_sentinel(path, seen)
    except IntegrityError as error:
        seen.clean, seen.damaged = False, str(error)
        _write_sentinel(path, seen)
        raise
    except TierUnavailable:
        # RocksDB cuts off what a failed write left at the end of its log.
        seen.clean = False
        if not _write_sentinel(path, seen):
            with contextlib.suppress(OSError):
                sentinel.beside(path).unlink()
        raise
    finally:
        release(opened.lock)


def copy_to(rocks: Rocks, path: str | os.PathLike[str], generation: int) -> None:
    """Make a copy of an open database in the new directory `path`, with a sentinel of its own.

    Raises ConfigurationError for a path that is taken or inside of the database, TierLockedError,
    TierUnavailable.
    """
    target = resolve(path)
    refused = f"cannot make a snapshot of {rocks.path!r} at {target!r}: "
    if Path(target).is_relative_to(rocks.path):
        raise ConfigurationError(refused + "that is the database itself; give a path outside of it")
    if os.path.lexists(target):
        raise ConfigurationError(refused + "it exists; remove it or give another path")
    _refuse_stranger(target)
    lock = _hold(target)
    try:
        # What another database was like that was here says nothing about this one.
        sentinel.beside(target).unlink(missing_ok=True)
        rocks.checkpoint(target)
        seen = sentinel.Sentinel(clean=True, generation=generation)
        _write_sentinel(target, seen)
    except OSError as error:
        if isinstance(error, CacheError):
            raise
        raise TierUnavailable(f"{refused}{error}") from error
    finally:
        release(lock)


def open_secondary(path: str, scratch: str) -> Opened:
    """Open the database that another process writes; `scratch` is a directory for RocksDB's log."""
    try:
        rocks = open_rocks(path, secondary=scratch)
    except (TierUnavailable, ConfigurationError) as error:
        raise TierLockedError(
            f"{path!r} is in use by another process and cannot be read beside it now: {error}"
        ) from error
    return Opened(rocks, None, _generation(rocks))


def _write_sentinel(path: str, seen: sentinel.Sentinel) -> bool:
    """Complete a sentinel by what is there and write it, if that can be; return whether it was."""
    after = sentinel.look(path)
    seen.manifest, seen.manifest_size = after.manifest, after.manifest_size
    seen.tables, seen.logs, seen.boot = after.tables, after.logs, after.boot
    try:
        sentinel.write(path, seen)
    except OSError:
        return False
    return True


def release(lock: int | None) -> None:
    """Let another process open the database."""
    if lock is not None and lock in _held:
        _held.discard(lock)
        os.close(lock)


def forget_locks() -> None:
    """Close a forked child's copies of the locks; the parent still holds them."""
    for lock in list(_held):
        release(lock)


def _hold(path: str) -> int:
    """Take the lock beside the directory and write our process id into it."""
    try:
        Path(path).parent.mkdir(0o700, parents=True, exist_ok=True)
        lock = os.open(path + ".frys.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except (OSError, RecursionError) as error:
        raise TierUnavailable(f"cannot open {path!r}: {error}") from error
    _held.add(lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0)
        release(lock)
        raise _locked(path, owner) from None
    except OSError as error:
        release(lock)
        raise TierUnavailable(f"cannot lock {path!r}: {error}") from error
    return lock


def _locked(path: str, owner: bytes) -> TierLockedError:
    """Return the error that names the owner and the ways out."""
    who = f"process {owner.decode()}" if owner.isdigit() else "another process"
    return TierLockedError(
        f"{path!r} is in use by {who}; a persistent tier has one owner. Ways out: "
        'on_locked="memory-only" works without it, on_locked="secondary" reads beside the owner, '
        "a path with {pid} gives each process its own, and Redis (distributed=...) is shared by all"
    )


def _refuse_stranger(path: str) -> None:
    """Raise ConfigurationError for a file, or a directory that holds other things than a database.

    It would be filled with files, and one day perhaps set aside as damaged.
    """
    for other in (sentinel.beside(path), Path(path + ".frys.lock")):
        if other.is_dir():
            raise ConfigurationError(
                f"{path!r} needs the name {str(other)!r} for a file of its own, but a directory "
                "is there, perhaps another cache: give one of them another path"
            )
    if not os.path.lexists(path):
        return
    if not Path(path).is_dir():
        raise ConfigurationError(f"{path!r} is a file; a persistent tier needs a directory")
    names = {one.name for one in Path(path).iterdir()} - {"lost+found"}
    others = sorted(name for name in names if not sentinel.OWN_FILES.fullmatch(name))
    if others and len(others) == len(names):
        raise ConfigurationError(
            f"{path!r} holds other things, such as {others[0]!r}; "
            "give a persistent tier a directory of its own"
        )


def _open_whole(path: str, on_corrupt: str, lock: int) -> Opened:
    """Open the database, or set a damaged one aside and open a new one."""
    known = sentinel.read(path)
    reached = known.generation if known else 0
    reason = sentinel.damage(path, known)
    cause: IntegrityError | None = None
    if reason is None:
        copy = _link_aside(path) if known is None else None
        try:
            opened = _attempt(path, known, copy is not None, reached, lock)
        except IntegrityError as error:
            reason, cause = str(error), error
            if copy is not None:
                shutil.rmtree(path)
                copy.rename(path)
        except BaseException:
            if copy is not None:
                shutil.rmtree(copy, ignore_errors=True)
            raise
        else:
            if copy is not None:
                shutil.rmtree(copy, ignore_errors=True)
            return opened
    if on_corrupt == "raise":
        raise IntegrityError(
            f"the database in {path!r} is damaged: {reason}. It was left as it is; "
            f'on_corrupt="quarantine" renames it to {path}.quarantine-<time> and starts empty, '
            f'on_corrupt="raise" refuses it. Delete {path}.frys to forget what was there'
        ) from cause
    aside = None
    if Path(path).is_dir() and any(Path(path).iterdir()):
        aside = str(Path(path).rename(_aside(path)))
    # What was known is not true of the new one.
    _write_sentinel(path, sentinel.Sentinel(generation=reached))
    opened = _attempt(path, None, False, reached, lock)
    opened.quarantined, opened.damage = aside, reason
    where = f"it is now in {aside!r}" if aside else "nothing of it is left"
    log.warning("the database in %r was damaged (%s); %s; starting empty", path, reason, where)
    return opened


def _attempt(
    path: str, known: sentinel.Sentinel | None, expected: bool, reached: int, lock: int
) -> Opened:
    """Open the database; IntegrityError if it is not what was there when it was last seen.

    expected: whether there must be something in it.
    reached: the highest generation known of; the new one is above it.
    """
    try:
        rocks = open_rocks(path)
    except TierLockedError as error:
        raise _locked(path, b"") from error
    try:
        stored = _generation(rocks)
        if known is not None and stored < known.generation:
            raise IntegrityError(
                f"it opens in the state of generation {stored}, {known.generation} was there"
            )
        lost = sentinel.lost_writes(known, rocks.sequence()) if known is not None else None
        if lost is not None:
            raise IntegrityError(lost)
        if known is not None and known.clean and not known.empty and is_empty(rocks):
            raise IntegrityError(f"it opens empty, about {known.entries} entries were there")
        if expected and not stored and all(is_empty(rocks, family) for family in FAMILIES):
            raise IntegrityError("it opens empty, but there are table files")
        generation = max(stored, reached) + 1
        rocks.write([("meta", GENERATION, generation.to_bytes(8, "big"))])
        rocks.flush_wal()
    except BaseException:
        with contextlib.suppress(CacheError):
            rocks.close()
        raise
    return Opened(rocks, lock, generation)


def _generation(rocks: Rocks) -> int:
    """Return how many times the database has been opened for writing."""
    return int.from_bytes(rocks.get("meta", GENERATION) or b"", "big")


def is_empty(rocks: Rocks, family: str = "data") -> bool:
    """Return whether a family has no key; a damaged block is one that has."""
    try:
        return not rocks.keys(family, b"", None, 1)
    except IntegrityError:
        return False


def _link_aside(path: str) -> Path | None:
    """Hard-link the files of a directory with tables to one beside it; None if there are none."""
    if not any(Path(path).glob("*.sst")):
        return None
    copy = _aside(path)
    copy.mkdir(0o700)
    for file in Path(path).iterdir():
        if file.is_file():
            os.link(file, copy / file.name)
    return copy


def _aside(path: str) -> Path:
    """Return a name beside `path` that is not taken."""
    name = f"{path}.quarantine-{time.strftime('%Y%m%d-%H%M%S')}"
    found, n = Path(name), 0
    while os.path.lexists(found):
        n += 1
        found = Path(f"{name}-{n}")
    return found
