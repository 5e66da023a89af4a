"""Traces of requests: read from text, csv and .npy files, plain, .gz or .zst.

A trace is checked whole before anything is simulated, and what is wrong is a `BadTrace` that names
the file and the line.  Keys of text and csv become 64-bit hashes while they are read, 8 bytes a
request: two of ten million different keys are taken for one with a probability of 1 in 400,000.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from frys_cache.simulation import Trace

__all__ = ["BadTrace", "Source", "read"]

CHUNK = 1 << 22  # bytes of text that are read at once
PACKED = (".gz", ".zst")


class BadTrace(Exception):
    """A trace that cannot be read: the message says where and why."""


@dataclass(frozen=True)
class Source:
    """A trace that was read, and what 100 % of it are."""

    name: str
    trace: Trace
    whole: int
    """Different keys; or, where bytes are asked for, the bytes of all different objects."""
    in_bytes: bool


def read(path: str, in_bytes: bool) -> Source:
    """Read a trace, with sizes if bytes are asked for; "-" is text from the standard input.

    Raises BadTrace.
    """
    import numpy as np

    kind = kind_of(path)
    try:
        with opened(path) as stream:
            if kind == ".npy":
                keys, sizes = read_npy(stream, path), None
            elif kind == ".csv":
                keys, sizes = read_csv(stream, path)
            else:
                keys, sizes = read_text(stream, path), None
        if in_bytes and sizes is None:
            sizes = read_companion(path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadTrace(f"{path}: cut off or damaged: {error}") from error
    except OSError as error:
        raise BadTrace(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise BadTrace(f"{path!r} is no name of a file: {error}") from error
    if len(keys) == 0:
        raise BadTrace(f"{path}: no requests: the trace is empty")
    if not in_bytes:
        trace = Trace(keys, numbered=True)
        return Source(path, trace, trace.unique, False)
    try:
        trace = Trace(keys, sizes, numbered=True)
    except ValueError as error:
        raise BadTrace(f"{path}: {error}") from error
    first = np.unique(np.asarray(keys), return_index=True)[1]
    whole = int(np.asarray(sizes)[first].sum(dtype=np.uint64))
    if whole == 0:
        raise BadTrace(f"{path}: every size is 0: there are no bytes to bound")
    return Source(path, trace, whole, True)


def kind_of(path: str) -> str:
    """Return the suffix that says what the file holds, whatever it is packed with."""
    file = Path(path)
    return Path(file.stem).suffix if file.suffix in PACKED else file.suffix


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """Open for reading, unpacked."""
    if path == "-":
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        if path.endswith(".gz"):
            with gzip.GzipFile(fileobj=file) as stream:
                yield stream  # type: ignore[misc]
        elif path.endswith(".zst"):
            yield io.BufferedReader(Unpacked(file))
        else:
            yield file


class Unpacked(io.RawIOBase):
    """The content of a zstd file; where it is cut off, EOFError, which zstandard does not tell."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read from an open file."""
        import zstandard

        self.file = file
        self.maker = zstandard.ZstdDecompressor()
        self.frame = self.maker.decompressobj()
        self.damaged = zstandard.ZstdError
        self.begun = False
        self.rest = b""

    def readable(self) -> bool:
        """Return true: it is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; 0 at the end."""
        while not self.rest:
            data = self.file.read(1 << 16)
            if not data:
                if self.begun and self.frame.eof:
                    return 0
                raise EOFError("the compressed data end too early")
            try:
                self.rest = self.unpack(data)
            except self.damaged as error:
                raise EOFError(str(error)) from error
        count = min(len(self.rest), len(buffer))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count

    def unpack(self, data: bytes) -> bytes:
        """Unpack the next bytes of the file, of as many frames as there are."""
        parts = []
        while data:
            if self.begun and self.frame.eof:
                self.frame = self.maker.decompressobj()
            self.begun = True
            parts.append(self.frame.decompress(data))
            data = self.frame.unused_data if self.frame.eof else b""
        return b"".join(parts)


def read_text(stream: IO[bytes], path: str) -> array[int]:
    """Read one key a line, of any bytes."""
    keys = array("q")
    rest = b""
    while chunk := stream.read(CHUNK):
        lines = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        rest = lines.pop()
        add_lines(keys, lines, path)
    if rest:
        add_lines(keys, [rest.removesuffix(b"\r")], path)
    return keys


def add_lines(keys: array[int], lines: list[bytes], path: str) -> None:
    """Add the keys of some lines; none may be empty."""
    if b"" in lines:
        number = len(keys) + lines.index(b"") + 1
        raise BadTrace(f"{path}:{number}: empty line: there must be one key on each")
    keys.extend(map(hash, lines))


def read_csv(stream: IO[bytes], path: str) -> tuple[array[int], array[int]]:
    """Read rows of a key and a size, with or without a header."""
    keys, sizes = array("q"), array("q")
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.reader(text, strict=True)
    try:
        for row in rows:
            if len(row) != 2:
                what = f"{len(row)} columns" if row else "empty line"
                raise BadTrace(f"{path}:{rows.line_num}: {what}: there must be two, key and size")
            size = row[1].strip()
            if not (size.isascii() and size.isdigit()):
                if rows.line_num == 1 and not is_number(size):
                    continue  # the header
                raise BadTrace(f"{path}:{rows.line_num}: {why_no_size(size)}")
            if len(size) > 18:
                raise BadTrace(f"{path}:{rows.line_num}: size {size} is 10**18 bytes or more")
            keys.append(hash(row[0]))
            sizes.append(int(size))
    except csv.Error as error:
        raise BadTrace(f"{path}:{rows.line_num}: {error}") from error
    finally:
        text.detach()  # the stream is closed by whoever opened it
    return keys, sizes


def is_number(text: str) -> bool:
    """Return whether a text means a number, of whatever sort."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def why_no_size(text: str) -> str:
    """Return what is wrong with a size."""
    if is_number(text) and float(text) < 0:
        return f"size {text} is negative"
    return f"size {text!r} is no whole number of bytes"


def read_npy(stream: IO[bytes], path: str) -> Any:
    """Read a .npy of one dimension of ints."""
    import numpy as np

    try:
        numbers = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, EOFError, zlib.error):
        raise
    except Exception as error:  # a damaged header is read by a parser that raises of all kinds
        why = " ".join(str(error).split())
        raise BadTrace(f"{path}: no whole .npy file: {why}") from error
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        shape = " x ".join(map(str, numbers.shape))
        raise BadTrace(
            f"{path}: an array of {shape or 'one'} {numbers.dtype}: there must be one dimension, "
            "and ints"
        )
    size = max(numbers.dtype.itemsize, 4)
    return numbers.astype(np.dtype(f"{numbers.dtype.kind}{size}"), copy=False)


def companion_of(path: str) -> Path | None:
    """Return NAME.sizes.npy, perhaps packed, beside NAME.npy, if there is one."""
    name = Path(path).name
    if kind_of(path) == ".npy":
        base = name[: name.rindex(".npy")]
        for end in ("", *PACKED):
            beside = Path(path).with_name(f"{base}.sizes.npy{end}")
            if beside.exists():
                return beside
    return None


def read_companion(path: str) -> Any:
    """Read the sizes that are beside a trace."""
    beside = companion_of(path)
    if beside is not None:
        with opened(str(beside)) as stream:
            return read_npy(stream, str(beside))
    if kind_of(path) == ".npy":
        base = Path(path).name
        base = base[: base.rindex(".npy")]
        raise BadTrace(f"{path}: no sizes: there is no {base}.sizes.npy beside it")
    raise BadTrace(f"{path}: no sizes: --bytes needs a csv of key and size, or a .npy with sizes")
