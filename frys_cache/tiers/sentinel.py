"""What a database looked like when it was last seen, kept beside its directory in `<path>.frys`.

RocksDB trusts its directory: a MANIFEST cut between two records opens as an older state or as an
empty one, without an error, and the opening then deletes the files that this state does not name.
Only something outside the directory can tell.  So after an opening, after each change of the
MANIFEST or of a log that a writer notices (at most once a second), and after a clean close, a small
JSON file says which MANIFEST there was and how long, the same of each write ahead log and, after a
clean close, of each table file, and the number of the last write.

A log that was cut or removed is an older state, too.  It is noticed as far as it was written when
the sentinel last was: what came later, in the last second, the last 64 KiB or the last 4 MiB, and
not before a `flush`, cannot be told.  A log is legitimately removed once all of it is in tables,
but then a newer one exists; so the newest must be there, or one with a higher number.  A loss of
power may take the end of a log that was not flushed, so logs are compared in the same boot only.
Not chosen: `track_and_verify_wals_in_manifest` of RocksDB, which rocksdict cannot set.

Cost: one small file of 1 KiB written per second or 4 MiB, 0.1 ms.  A record inside the database was
not chosen: it would be lost with it.  Neither was a copy of the MANIFEST: it would have to be as
new as itself.

A file that cannot be read means "nothing is known", as after a crash, and is no error.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Sentinel", "damage", "growth", "look", "lost_writes", "read", "write"]

FORMAT: Final = 1
LAST_GENERATION: Final = 1 << 62  # one per opening: no database gets there

# Everything that RocksDB and rocksdict put into a directory.
OWN_FILES: Final = re.compile(
    r"CURRENT|LOCK|IDENTITY|LOG(\.old\.\d+)?|(MANIFEST|OPTIONS)-\d+(\.dbtmp)?|\d+\.(log|sst|blob|dbtmp)"
    r"|rocksdict-config\.json|archive"
)


@dataclass(slots=True)
class Sentinel:
    """What was seen: file names, sizes in bytes, whether that was after a clean close, and why not.

    damaged: what made RocksDB refuse all writes; it would again.
    boot: which run of the machine that was, "" if it does not say.
    sequence: how many changes had been written.
    """

    clean: bool = False
    generation: int = 0
    entries: int = 0
    empty: bool = True
    damaged: str = ""
    manifest: str = ""
    manifest_size: int = 0
    boot: str = ""
    sequence: int = 0
    logs: dict[str, int] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)


def beside(path: str) -> Path:
    """Return where the sentinel of the database in `path` is."""
    return Path(path + ".frys")


def read(path: str) -> Sentinel | None:
    """Return what was last seen of the database in `path`, or None if nothing is known."""
    try:
        stored = json.loads(beside(path).read_bytes())
        if stored.pop("format") != FORMAT:
            return None
        found = Sentinel(**stored)
        for name, value in asdict(Sentinel()).items():
            if type(getattr(found, name)) is not type(value):
                return None
        sizes = [*found.tables.values(), *found.logs.values()]
        if any(type(size) is not int for size in sizes):
            return None
        if not 0 <= found.generation < LAST_GENERATION:
            return None
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    return found


def write(path: str, seen: Sentinel) -> None:
    """Put a sentinel in the place of the last one, at once; OSError where that fails.

    Only for the owner of the database, and for one thread at a time.
    """
    target = beside(path)
    fresh = target.with_name(target.name + ".tmp")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump({"format": FORMAT, **asdict(seen)}, file)
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def look(path: str) -> Sentinel:
    """Return which MANIFEST and tables are in the directory `path` now."""
    seen = Sentinel(boot=boot())
    try:
        seen.manifest = (Path(path) / "CURRENT").read_text("ascii").strip()
        seen.manifest_size = (Path(path) / seen.manifest).stat().st_size
    except (OSError, ValueError):
        seen.manifest_size = -1
    try:
        with os.scandir(path) as entries:
            for one in entries:
                if not one.name.endswith((".sst", ".log")):
                    continue
                with suppress(FileNotFoundError):  # a compaction took it from under us
                    size = one.stat().st_size
                    (seen.logs if one.name.endswith(".log") else seen.tables)[one.name] = size
    except OSError:  # no directory
        pass
    return seen


def boot() -> str:
    """Return which run of the machine this is, "" where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def growth(path: str) -> frozenset[tuple[str, int]]:
    """Return what differs after every write: the logs and MANIFESTs, with their sizes."""
    with os.scandir(path) as entries:
        return frozenset(
            (one.name, one.stat().st_size)
            for one in entries
            if one.name.endswith(".log") or one.name.startswith("MANIFEST")
        )


def damage(path: str, known: Sentinel | None) -> str | None:
    """Say what speaks against opening the directory `path`, or None.

    Only what is certain: RocksDB finds most damage itself, and says so at the opening.
    """
    now = look(path)
    there = bool(now.manifest or now.tables or now.logs)
    if known is None or not known.manifest:
        if there and not now.manifest:
            return "the file CURRENT is missing, tables or logs are there"
        if there and now.manifest_size < 0:
            return f"{now.manifest} is missing"
        return None
    if known.damaged:
        return known.damaged
    if not there:
        return None if known.clean and known.empty else "the files are gone"
    if not now.manifest:
        return "the file CURRENT is missing"
    if now.manifest_size < 0:
        return f"{now.manifest} is missing"
    if number(now.manifest) < number(known.manifest):
        return f"{now.manifest} is older than {known.manifest}, which was there"
    same = now.manifest == known.manifest
    if same and now.manifest_size < known.manifest_size:
        return (
            f"{now.manifest} has been cut from {known.manifest_size} to {now.manifest_size} bytes"
        )
    if known.clean:
        for name, size in known.tables.items():
            if now.tables.get(name) != size and same:
                return f"{name} is missing or has been cut"
    elif not now.logs:
        return "the write ahead log is missing"
    elif known.boot and known.boot == now.boot:
        return _lost_log(known.logs, now.logs)
    return None


def lost_writes(known: Sentinel, sequence: int) -> str | None:
    """Say that a database opens with fewer changes than had been written, or None."""
    if known.boot and known.boot == boot() and sequence < known.sequence:
        return f"it opens with {sequence} changes, {known.sequence} had been written"
    return None


def _lost_log(known: dict[str, int], now: dict[str, int]) -> str | None:
    """Say which log was cut or removed by another than RocksDB, or None."""
    for name, size in known.items():
        if now.get(name, size) < size:
            return f"{name} has been cut from {size} to {now[name]} bytes"
    newest = max(known, key=number, default="")
    if newest and number(newest) > max(map(number, now)):
        return f"{newest}, the newest write ahead log, is missing"
    return None


def number(name: str) -> int:
    """Return the running number in the name of a MANIFEST or a log, -1 for another name."""
    digits = name.removeprefix("MANIFEST-").removesuffix(".log")
    return int(digits) if digits.isdecimal() and digits.isascii() else -1
