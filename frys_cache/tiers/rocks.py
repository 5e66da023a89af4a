"""RocksDB as a few families of bytes: the only file that imports `rocksdict`; its options.

The profile is the one measured fastest for small compressed values: blocks of 1 KiB, a bloom filter
of 10 bits per key (an absent key costs under 1 us), one block cache for all families, and no
compression by RocksDB, since each value comes compressed by itself.  The raw mode and a `loads`
that raises are always given: rocksdict's own mode runs pickles, and it believes a file beside the
data about which mode it is.

Never `sync=True`: rocksdict holds the GIL through that fsync.  A write without it is in the write
ahead log, which outlives this process but not a power cut; `flush_wal` then makes it durable and
lets other threads run.  The log is recovered with "tolerate corrupted tail": a record cut by a kill
was never acknowledged and is left off, damage anywhere before it refuses the opening.  "Point in
time" was not chosen, for it would drop what was acknowledged after the damage without a word.

RocksDB does not outlive a fork: the child has none of its threads, so a flush never ends, a write
goes into a log that the parent has long left, and at its end the process waits for those threads,
which hangs or crashes.  So the child must `abandon` what it inherited, cannot open anything
(measured: threads started by `Env.set_background_threads` miss their wake-ups), and ends past the
exit handlers of C and C++ that it inherited; those of Python have run by then.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any, Final

from frys_cache.errors import ConfigurationError, TierUnavailable
from frys_cache.tiers.handle import FAMILIES, MIB, Rocks, Secondary

__all__ = ["open_rocks"]

KIB: Final = 1024

# The process that has RocksDB's threads, once there are any.
_threads_of: int | None = None

# How many table files are open at once, well below the usual limit of 1 024 per process.
OPEN_FILES: Final = 256


def open_rocks(
    path: str, *, secondary: str | None = None, block_cache_bytes: int = 32 * MIB
) -> Rocks:
    """Open or create the database in the directory `path`.

    secondary: a directory of one's own for a reader beside the process that writes; such a handle
        sees what was there when it was opened, and after `catch_up` what is there then.
    Raises ConfigurationError (rocksdict is not installed, or the directory is another program's),
    TierLockedError, IntegrityError, TierUnavailable.
    """
    global _threads_of
    library = _library()
    if _threads_of not in (None, os.getpid()):
        raise TierUnavailable(
            f"cannot open {path!r}: this process was forked from one that had used RocksDB, whose "
            "threads do not outlive a fork; open the first persistent tier after the fork, or "
            'start processes by "spawn" or "forkserver"'
        )
    cache = library.Cache.new_hyper_clock_cache(block_cache_bytes, 0)
    options = _options(library, cache, 1 * MIB)
    options.create_if_missing(secondary is None)
    options.create_missing_column_families(secondary is None)
    options.set_max_total_wal_size(64 * MIB)
    options.set_wal_recovery_mode(library.DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_paranoid_checks(True)
    # A secondary needs all its files open, for the writer may remove them.
    options.set_max_open_files(OPEN_FILES if secondary is None else -1)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 * MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    families = {name: _options(library, cache, size) for name, size in FAMILIES.items()}
    if secondary is None:
        access = library.AccessType.read_write()
        _make_directory(path)
    else:
        access = library.AccessType.secondary(secondary)
        _make_directory(secondary)
    _threads_of = os.getpid()
    kind = Rocks if secondary is None else Secondary

    def opener(access: Any = access) -> Any:
        return library.Rdict(path, options, families, access)

    return kind(library, opener, path)


def _library() -> Any:
    """Import rocksdict, which is optional."""
    try:
        import rocksdict
    except ImportError as error:
        raise ConfigurationError(
            "a persistent tier needs rocksdict: pip install 'frys-cache[persistent]'"
        ) from error
    return rocksdict


def _options(library: Any, cache: Any, write_buffer_bytes: int) -> Any:
    """Return the options of one family."""
    blocks = library.BlockBasedOptions()
    blocks.set_block_size(1 * KIB)
    blocks.set_bloom_filter(10, False)
    blocks.set_block_cache(cache)
    options = library.Options(raw_mode=True)
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(library.DBCompressionType.none())
    options.set_bottommost_compression_type(library.DBCompressionType.none())
    options.set_write_buffer_size(write_buffer_bytes)
    # A bloom filter for what is not in a file yet, or an absent key is searched for: 2 us.
    options.set_memtable_prefix_bloom_ratio(0.02)
    options.set_memtable_whole_key_filtering(True)
    return options


def _make_directory(path: str) -> None:
    """Create a directory that only its owner may enter, if there is none."""
    try:
        Path(path).mkdir(0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TierUnavailable(f"cannot make the directory {path!r}: {error.strerror}") from error


def _end_past_destructors() -> None:
    """Let a forked child end with its exit code before RocksDB waits for threads it has not.

    Exit handlers run last one first.  Where the C library has no `on_exit`, as musl, nothing helps.
    """
    if _threads_of is None:
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "on_exit"):
        library.on_exit(ctypes.cast(library._exit, ctypes.c_void_p), None)
        flush = ctypes.cast(library.fflush, ctypes.c_void_p)
        library.__cxa_atexit(flush, None, None)


os.register_at_fork(after_in_child=_end_past_destructors)
