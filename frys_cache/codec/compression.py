"""Values one by one through zstd, with a dictionary that is learned from the first of them.

A value of 1 KiB has little in itself that repeats; what repeats is in the other values.  So the
first 2,000 are kept, and a thread of its own trains a dictionary of up to 64 KiB from them, which
took 40 % off both what is stored and the time it takes, for JSON of 1 KiB.  It comes into use only
if it makes frames of values that it has not seen 5 % smaller.  When the ratio of a later window of
2,000 values is 15 % off that of the first one, the values have changed, and another is trained.

A dictionary is named by the first 4 bytes of its BLAKE2b, and handed to `keep` before the first
frame uses it: what was stored can always be read.  If `keep` fails, it is given up, and the next
one is trained when the values change.  A frame says its size, which is compared with the record's
and with the limit before a byte is decompressed.

Cost: about 0.5 us beside zstd; a context for each thread that compresses at the same moment, which
at level 3 takes 50 KB for values of 1 KiB, and 2.6 MB once there was one of 1 MiB; the samples, at
most 4 MiB, until the training ends.  Contexts of zstd must not be shared between threads that
run at once; they wait in a deque, whose pop and append are atomic, so that there is no lock to wait
for or to inherit over a fork, and threads that come and go leave nothing behind, as they would in a
threading.local.  Compressing blocks of many values, as RocksDB does, packs as well but unpacks all
of a block for one value, and its blocks cannot be sent to a server.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from frys_cache._core import unpack_run
from frys_cache.errors import ConfigurationError, IntegrityError
from frys_cache.types import Missing

if TYPE_CHECKING:
    import zstandard

__all__ = ["Compressor", "name_of"]

SAMPLES = 2_000  # a dictionary is trained from, and values in a window
SAMPLE_MAX = 8 << 10  # bytes; longer values gain nothing from a dictionary
SAMPLES_MAX = 4 << 20  # bytes of all samples
DICTIONARY_MAX = 64 << 10  # bytes; larger ones were slower and no better on records of 1 KiB
SAMPLES_PER_DICTIONARY = 10  # bytes of samples for each of the dictionary, as zstd recommends
HOLDOUT = 8  # every 8th sample is not trained with but measured with
HELPS = 0.95  # of the size without, at most, for a dictionary to be adopted
DRIFT = 0.15  # of the ratio, after which another is trained
PAYS = 0.9  # of the size, at most, for a frame to be stored
ALONE_MIN = 64  # bytes; shorter values are only compressed with a dictionary
OVERHEAD = 8  # bytes of a record before a frame
KNOWN_MAX = 16  # dictionaries held, where others can be loaded again


def name_of(dictionary: bytes) -> int:
    """Return the id of a dictionary, a u32 that is not 0."""
    return int.from_bytes(blake2b(dictionary).digest()[:4], "big") or 1


class Compressor:
    """Compress and decompress values with zstd, learning a dictionary on the way.

    level: 1 to 22.  keep(id, dictionary): store a dictionary before it is used; if it raises, the
    dictionary is not used.  load(id): return a dictionary that was kept, or None.  Both may be
    called from any thread, `keep` from one of the compressor's own.  learns: whether to use
    dictionaries at all; a frame with one is then refused when read.

    Thread-safe, and usable in a forked child.

    Raises ConfigurationError for a level that there is not or if zstandard is not installed, and
    TypeError for a level that is no int.
    """

    __slots__ = (
        "__weakref__",
        "_baseline",
        "_closed",
        "_error",
        "_frame_size",
        "_full",
        "_keep",
        "_known",
        "_left",
        "_load",
        "_now",
        "_packed",
        "_raw",
        "_samples",
        "_training",
        "learns",
        "level",
    )

    def __init__(
        self,
        level: int = 3,
        *,
        load: Callable[[int], bytes | None] | None = None,
        keep: Callable[[int, bytes], None] | None = None,
        learns: bool = True,
    ) -> None:
        self.level = check_level(level)
        self.learns = learns
        try:
            import zstandard
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "compression needs zstandard: pip install 'frys-cache[persistent]', or turn "
                "compression off"
            ) from error
        self._frame_size = zstandard.frame_content_size
        self._error = zstandard.ZstdError
        self._load = load
        self._keep = keep
        self._now = Contexts(0, None, level)  # what compresses at present
        self._known: dict[int, Contexts] = {0: self._now}
        self._closed = False
        self._training: Training | None = None
        self._samples: list[bytes] | None = None
        self._full: deque[list[bytes]] = deque()  # the samples, for the one thread that trains
        if learns:
            self._collect()
        self._baseline: float | None = None  # packed bytes per byte, after the training
        # Values until the window is full.
        self._left = SAMPLES if learns else 1 << 62
        self._raw = self._packed = 0  # bytes of the window

    def compress(self, data: bytes) -> tuple[int, bytes] | None:
        """Return the id of the dictionary, 0 for none, and a frame; None if it does not pay."""
        size = len(data)
        now = self._now
        if size < ALONE_MIN and not now.id:
            if self._samples is not None:
                self._count(data, size)
            return None
        frame = now.compress(data)
        packed = len(frame)
        if size <= SAMPLE_MAX:
            # Threads may lose a count to each other here; nothing but a window depends on it.
            self._raw += size
            self._packed += packed
            self._left -= 1
            if self._left <= 0 or self._samples is not None:
                self._count(data, packed)
        if packed + OVERHEAD > size * PAYS:
            return None
        return now.id, frame

    def decompress(
        self, frame: bytes, dictionary_id: int, raw_size: int, max_size: int
    ) -> bytes | None:
        """Return the data of a frame; None if the dictionary is not known, nor to `load`.

        IntegrityError, before anything is decompressed, for a frame that does not say its size, or
        another than raw_size, or more than max_size bytes; also for any damage, and for what
        follows the frame.
        """
        try:
            contexts = self._known[dictionary_id]
        except KeyError:
            if not self.learns:
                raise IntegrityError("compressed with a dictionary, which is not allowed") from None
            found = self._fetch(dictionary_id)
            if found is None:
                return None
            contexts = found
        if not 0 < raw_size <= max_size:
            raise IntegrityError(f"compressed value of {raw_size} bytes: may be 1 to {max_size}")
        try:
            if self._frame_size(frame) != raw_size:
                raise IntegrityError(f"compressed value does not say that it has {raw_size} bytes")
            # Written out here, since a call would cost as much as the rest of it.
            free = contexts.readers
            try:
                reader = free.pop()
            except IndexError:
                reader = contexts.new_reader()
            # (frame, any size, one frame, nothing behind it): by name it would take 0.35 us more.
            data = reader.decompress(frame, 0, False, False)
            free.append(reader)
            return data
        except self._error as error:
            raise IntegrityError(f"compressed value is damaged: {error}") from error

    def unpack_run(
        self, records: list[bytes | None], max_size: int
    ) -> list[tuple[Any, int, int] | Missing | None]:
        """Return what plain records hold, and MISSING for those that `decompress` has to see."""
        now = self._now
        try:
            reader = now.readers.pop()
        except IndexError:
            reader = now.new_reader()
        values: list[tuple[Any, int, int] | Missing | None] = unpack_run(
            records, now.id, max_size, self._frame_size, reader.decompress
        )
        now.readers.append(reader)
        return values

    def use(self, dictionary: bytes) -> int:
        """Compress with this dictionary from now on, and return its id; after a reopening.

        IntegrityError if it is none.
        """
        contexts = self._make(name_of(dictionary), dictionary)
        self._adopt(contexts)
        return contexts.id

    def settle(self, timeout: float | None = None) -> bool:
        """Wait, `timeout` seconds at most, until no training is under way; whether none is."""
        training = self._training
        if training is None:
            return True
        training.thread.join(timeout)
        return not training.thread.is_alive()

    def close(self) -> None:
        """Learn no more: after this returns, `keep` is not called.  The rest goes on working."""
        self._closed = True
        self._samples = None
        training = self._training
        if training is None or training.claim():
            return
        # It is just keeping its dictionary, unless it has ended, or is who closes.
        if training.thread is not threading.current_thread():
            training.thread.join()

    @property
    def dictionary_id(self) -> int:
        """The dictionary that compresses at present; 0: none."""
        return self._now.id

    def _make(self, dictionary_id: int, dictionary: bytes) -> Contexts:
        """Make a dictionary known; IntegrityError if zstd cannot use it."""
        try:
            contexts = Contexts(dictionary_id, dictionary, self.level)
        except (self._error, ValueError) as error:
            raise IntegrityError(f"dictionary {dictionary_id:#010x} is damaged: {error}") from error
        known = self._known
        if self._load is not None and len(known) > KNOWN_MAX:
            for old in list(known):  # the oldest first
                if old not in (0, self._now.id):
                    known.pop(old, None)
                    break
        known[dictionary_id] = contexts
        return contexts

    def _fetch(self, dictionary_id: int) -> Contexts | None:
        """Ask for a dictionary that is not known here."""
        dictionary = None if self._load is None else self._load(dictionary_id)
        if dictionary is None:
            return None
        if name_of(dictionary) != dictionary_id:
            raise IntegrityError(f"dictionary {dictionary_id:#010x} is damaged: its hash differs")
        return self._make(dictionary_id, dictionary)

    def _adopt(self, contexts: Contexts) -> None:
        """Compress with this from now on, and measure from now on what it reaches."""
        self._samples = None
        self._full.clear()
        self._now = contexts
        self._baseline = None
        self._left = SAMPLES
        self._raw = self._packed = 0

    def _count(self, data: bytes, packed: int) -> None:
        """Keep a sample, or end a window of values; off the hot path."""
        samples = self._samples
        if samples is not None:
            samples.append(data)
            if len(samples) >= SAMPLES or (
                # Looked at now and then: a sum for every sample would be quadratic.
                len(samples) % 64 == 0 and sum(map(len, samples)) >= SAMPLES_MAX
            ):
                self._samples = None
                self._train()
            return
        raw = self._raw
        ratio = self._packed / raw if raw else 1.0
        self._left = SAMPLES
        self._raw = self._packed = 0
        if self._closed or (self._training is not None and self._training.thread.is_alive()):
            return
        if self._baseline is None:
            self._baseline = ratio
        elif abs(ratio - self._baseline) > DRIFT * self._baseline:
            self._baseline = None
            self._collect()

    def _collect(self) -> None:
        """Keep samples from now on."""
        samples: list[bytes] = []
        self._full.append(samples)
        self._samples = samples

    def _train(self) -> None:
        """Start a training, in one thread however many of them find that it is time."""
        try:
            samples = self._full.pop()
        except IndexError:
            return
        if self._closed:
            return
        training = Training(self, samples, self._now)
        with suppress(RuntimeError):  # no more threads, or the interpreter ends
            training.thread.start()
            self._training = training


class Contexts:
    """A dictionary, or none, and the contexts of zstd that are free to work with it."""

    __slots__ = ("_dictionary", "_level", "id", "readers", "writers")

    def __init__(self, dictionary_id: int, dictionary: bytes | None, level: int) -> None:
        import zstandard

        self.id = dictionary_id
        self.writers: deque[zstandard.ZstdCompressor] = deque()
        self.readers: deque[zstandard.ZstdDecompressor] = deque()
        self._level = level
        self._dictionary = None
        if dictionary is not None:
            self._dictionary = zstandard.ZstdCompressionDict(dictionary)
            self._dictionary.precompute_compress(level=level)
        # What is made of the dictionary at its first use is made here, by one thread.
        reader = self.new_reader()
        reader.decompress(self.compress(b"x"))
        self.readers.append(reader)

    def compress(self, data: bytes) -> bytes:
        """Return a frame."""
        try:
            writer = self.writers.pop()
        except IndexError:
            writer = self.new_writer()
        frame = writer.compress(data)
        self.writers.append(writer)
        return frame

    def new_writer(self) -> zstandard.ZstdCompressor:
        """Return one more context; a frame says its size, and leaves the id to the record."""
        import zstandard

        return zstandard.ZstdCompressor(
            self._level,
            dict_data=self._dictionary,
            write_checksum=False,
            write_content_size=True,
            write_dict_id=False,
        )

    def new_reader(self) -> zstandard.ZstdDecompressor:
        """Return one more context."""
        import zstandard

        return zstandard.ZstdDecompressor(dict_data=self._dictionary)


class Training:
    """One training under way: its thread, and the right to end it, which one side gets."""

    __slots__ = ("_right", "thread")

    def __init__(self, owner: Compressor, samples: list[bytes], before: Contexts) -> None:
        self._right: deque[None] = deque([None])
        # A daemon: the end of the interpreter does not wait for a dictionary.
        self.thread = threading.Thread(
            target=train,
            args=(weakref.ref(owner), self, samples, before, owner.level),
            name="frys-dictionary",
            daemon=True,
        )

    def claim(self) -> bool:
        """Return whether nobody has claimed it before: to keep the dictionary, or to close."""
        try:
            self._right.pop()
        except IndexError:
            return False
        return True


def train(
    owner: weakref.ref[Compressor],
    training: Training,
    samples: list[bytes],
    before: Contexts,
    level: int,
) -> None:
    """Train a dictionary and have it adopted if it helps; the work of the thread.

    The compressor may be collected meanwhile: nothing here holds it but the last lines.
    """
    dictionary = learn(samples, before, level)
    compressor = owner()
    if dictionary is None or compressor is None or compressor._closed or not training.claim():
        return
    name = name_of(dictionary)
    try:
        if compressor._keep is not None:
            compressor._keep(name, dictionary)
    except Exception:  # noqa: BLE001 - whatever it is, a dictionary that is not kept is not used
        return
    compressor._adopt(compressor._make(name, dictionary))


def learn(samples: list[bytes], before: Contexts, level: int) -> bytes | None:
    """Return a dictionary that makes values like these smaller than they were, or None."""
    import zstandard

    unseen = samples[::HOLDOUT]
    seen = [value for at, value in enumerate(samples) if at % HOLDOUT]
    size = min(DICTIONARY_MAX, sum(map(len, seen)) // SAMPLES_PER_DICTIONARY)
    try:
        dictionary = zstandard.train_dictionary(size, [*seen]).as_bytes()
        after = Contexts(1, dictionary, level)
    except (zstandard.ZstdError, ValueError):  # too few, too short, or too much alike
        return None
    without = sum(stored_size(value, before) for value in unseen)
    helps = sum(stored_size(value, after) for value in unseen) <= without * HELPS
    return dictionary if helps else None


def stored_size(value: bytes, contexts: Contexts) -> int:
    """Return how many bytes a value takes, compressed if that pays."""
    size = len(value)
    if size < ALONE_MIN and not contexts.id:
        return size
    packed = len(contexts.compress(value)) + OVERHEAD
    return packed if packed <= size * PAYS else size


def check_level(level: object) -> int:
    """Return a level, checked."""
    if not isinstance(level, int) or isinstance(level, bool):
        raise TypeError(f"compression_level must be an int, not {level!r}")
    if not 1 <= level <= 22:
        raise ConfigurationError(f"compression_level must be from 1 to 22, not {level}")
    return level
