"""The head of a stored record, packed and read in one call; codec/record.py describes the format.

Reading trusts nothing: whatever bytes come, the answer is a head or IntegrityError.  Cost: about
80 ns to read, of which most goes into the tuple.  struct would read the fixed part as fast, but
the checks and the extension area in Python cost several times as much.
"""

from cpython.bytes cimport PyBytes_AS_STRING as bytes_start, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcpy

from frys_cache.errors import IntegrityError

cdef enum:
    RECORD_MAGIC = 0xF1
    RECORD_HEAD = 20  # bytes before the extension area
    RECORD_SIGNED = 4
    RECORD_EXTENSION = 8
    RECORD_COMPRESSED = 16
    RECORD_FLAGS = 31  # all flags that there are
    RECORD_SIGNATURE = 16  # bytes
    RECORD_EXTENSIONS_MAX = 0xFFFF
    TAG_FRESH = 1  # u64 milliseconds: the value is stale from then on
    TAG_LOAD = 2  # u32 milliseconds that loading it took


cdef inline uint64_t load_big(const uint8_t *at) noexcept:
    """Read 8 bytes, the most significant one first."""
    cdef uint64_t number = 0
    cdef int i
    for i in range(8):
        number = number << 8 | at[i]
    return number


cdef inline void store_big(uint8_t *at, uint64_t number) noexcept:
    """Write 8 bytes, the most significant one first."""
    cdef int i
    for i in range(8):
        at[i] = <uint8_t>(number >> (56 - 8 * i))


cdef bint are_extensions(const uint8_t *at, Py_ssize_t size) noexcept:
    """Whether (tag, length, bytes) triples fill an area exactly, whatever the tags mean."""
    cdef Py_ssize_t i = 0
    while i < size:
        if size - i < 2:
            return False
        i += 2 + at[i + 1]
    return i == size


cdef Py_ssize_t end_of_head(const uint8_t *at, Py_ssize_t size) noexcept:
    """Where the head of a record with an extension area ends; 0: it is damaged."""
    cdef Py_ssize_t end
    if size < RECORD_HEAD + 2:
        return 0
    end = RECORD_HEAD + 2 + (<Py_ssize_t>at[20] << 8 | at[21])
    return end if end <= size and are_extensions(at + 22, end - 22) else 0


cdef struct record_ends:
    uint64_t fresh  # the hard end where nothing is said of staleness; 0: never
    uint64_t hard
    uint32_t load


cdef bint find_ends(const uint8_t *at, Py_ssize_t end, record_ends *ends) noexcept:
    """Read when a checked head of `end` bytes ends; False: a tag has another length than it must.

    The value is never fresh beyond the hard end; of a tag that comes twice the last one counts.
    """
    cdef const uint8_t *tag = at + RECORD_HEAD + 2
    ends.hard = ends.fresh = load_big(at + 12)
    ends.load = 0
    if not at[1] & RECORD_EXTENSION:
        return True
    while tag < at + end:
        if tag[0] == TAG_FRESH:
            if tag[1] != 8:
                return False
            ends.fresh = load_big(tag + 2)
            if ends.fresh == 0 or 0 < ends.hard < ends.fresh:
                ends.fresh = ends.hard
        elif tag[0] == TAG_LOAD:
            if tag[1] != 4:
                return False
            ends.load = (<uint32_t>tag[2] << 24 | <uint32_t>tag[3] << 16 | <uint32_t>tag[4] << 8
                         | tag[5])
        tag += 2 + tag[1]
    return True


cdef int check_ends(const uint8_t *at, Py_ssize_t end, record_ends *ends) except -1:
    """The same; IntegrityError for a tag of a wrong length."""
    if not find_ends(at, end, ends):
        raise IntegrityError("extension area of the record has a tag of a wrong length: damaged")
    return 0


def pack_head(unsigned int flags, unsigned int code, version, expires_ms,
              bytes extensions not None=b""):
    """Return the head of a record; the payload goes right behind it.

    extensions: (u8 tag, u8 length, bytes) triples, at most 65,535 bytes; they set their flag
    themselves.  ValueError, OverflowError for an int that is no u64, TypeError for a float, which
    would lose its fraction.
    """
    cdef Py_ssize_t more = len(extensions)
    cdef uint8_t *to
    if flags & ~(<unsigned int>(RECORD_FLAGS & ~RECORD_EXTENSION)):
        raise ValueError(f"flags are 1, 2, 4 and 16, not {flags}")
    if not isinstance(version, int) or not isinstance(expires_ms, int):
        raise TypeError("version and expires_ms must be ints")
    if code > 255:
        raise ValueError(f"code {code} is no byte")
    if more > RECORD_EXTENSIONS_MAX or not are_extensions(
            <const uint8_t *>bytes_start(extensions), more):
        raise ValueError(f"{more} bytes of extensions: at most 65535, of whole triples")
    cdef bytes head = PyBytes_FromStringAndSize(NULL, RECORD_HEAD + (2 + more if more else 0))
    to = <uint8_t *>bytes_start(head)
    to[0] = RECORD_MAGIC
    to[1] = <uint8_t>(flags | (RECORD_EXTENSION if more else 0))
    to[2] = <uint8_t>code
    to[3] = 0
    store_big(to + 4, version)
    store_big(to + 12, expires_ms)
    if more:
        to[20] = <uint8_t>(more >> 8)
        to[21] = <uint8_t>(more & 0xFF)
        memcpy(to + 22, bytes_start(extensions), more)
    return head


cdef Py_ssize_t check_head(const uint8_t *at, Py_ssize_t size) except -1:
    """Return where the head ends; IntegrityError for whatever is no head."""
    cdef Py_ssize_t end = RECORD_HEAD
    if size < RECORD_HEAD:
        raise IntegrityError(f"record of {size} bytes: cut off, the head alone has 20")
    if at[0] != RECORD_MAGIC:
        raise IntegrityError(f"record begins with byte {at[0]:#04x}, not 0xf1: damaged, or "
                             "written by another version")
    if at[1] & ~RECORD_FLAGS or at[3]:
        raise IntegrityError(f"record with flags {at[1]:#04x} and reserved byte {at[3]:#04x}: "
                             "damaged, or written by a later version")
    if at[1] & RECORD_EXTENSION:
        if size < RECORD_HEAD + 2:
            raise IntegrityError(f"record of {size} bytes: cut off before its extension area")
        end = end_of_head(at, size)
        if end == 0:
            raise IntegrityError("extension area of the record is damaged")
    return end


def read_head(bytes record not None):
    """Return (flags, code, version, expires_ms, offset of what follows the head) of a record.

    IntegrityError for whatever is no head; what follows is not looked at.
    """
    cdef const uint8_t *at = <const uint8_t *>bytes_start(record)
    cdef Py_ssize_t end = check_head(at, len(record))
    return at[1], at[2], load_big(at + 4), load_big(at + 12), end


def read_ends(bytes record not None):
    """Return (version, fresh_ms, hard_ms, load_ms) of a record; IntegrityError.

    fresh_ms is hard_ms where the record says nothing of staleness; of both 0 is never.
    """
    cdef const uint8_t *at = <const uint8_t *>bytes_start(record)
    cdef record_ends ends
    check_ends(at, check_head(at, len(record)), &ends)
    return load_big(at + 4), ends.fresh, ends.hard, ends.load


def is_stale(bytes record not None, uint64_t now_ms):
    """Return whether a record says that it is stale by now, whatever its hard end.

    Never raises: what is damaged is not stale, but for the codec to refuse.
    """
    cdef const uint8_t *at = <const uint8_t *>bytes_start(record)
    cdef Py_ssize_t size = len(record), end
    cdef record_ends ends
    if size < RECORD_HEAD or not at[1] & RECORD_EXTENSION:
        return False
    end = end_of_head(at, size)
    if end == 0 or not find_ends(at, end, &ends):
        return False
    return 0 < ends.fresh <= now_ms


def split_record(bytes record not None):
    """Return (flags, code, version, fresh_ms, end of the head, body, size, dictionary).

    fresh_ms is the hard end where the record says nothing of staleness.  The body is the str itself if the code says so and there are no flags, else bytes: the frame
    if compressed.  The size is that of the body in bytes, which a frame only claims; the id of
    its dictionary is 0 for none.  IntegrityError.
    """
    cdef const uint8_t *at = <const uint8_t *>bytes_start(record)
    cdef Py_ssize_t size = len(record), end = check_head(at, size), body = end
    cdef uint64_t packed = 0
    cdef record_ends ends
    if at[1] & RECORD_EXTENSION:
        check_ends(at, end, &ends)
    else:
        ends.fresh = load_big(at + 12)
    if at[1] & RECORD_SIGNED:
        body += RECORD_SIGNATURE
    if at[1] & RECORD_COMPRESSED:
        body += 8
    if body > size:
        raise IntegrityError(f"record of {size} bytes: cut off before its payload")
    if at[1] & RECORD_COMPRESSED:
        packed = load_big(at + body - 8)  # u32 dictionary, u32 size
    if not at[1] and at[2] == 1:
        # Straight to the str, without a slice in between.
        text = text_of(<const char *>at + body, size - body)
    else:
        text = PyBytes_FromStringAndSize(<const char *>at + body, size - body)
    return (at[1], at[2], load_big(at + 4), ends.fresh, end, text,
            <uint32_t>packed if at[1] & RECORD_COMPRESSED else size - body, <uint32_t>(packed >> 32))


cdef object text_of(const char *at, Py_ssize_t size):
    """Decode utf-8 with surrogates; IntegrityError."""
    try:
        return PyUnicode_DecodeUTF8(at, size, "surrogatepass")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"str is damaged: {error}") from error


def unpack_run(list records not None, uint32_t dictionary, Py_ssize_t max_size, frame_size,
               decompress):
    """Return (value, version, fresh_ms) of each record that is plain bytes, compressed or not.

    dictionary: the only one that frames may be compressed with.  frame_size, decompress: of zstd.
    None where there is no record, MISSING for what has to be looked at by itself, damage too.  In
    one step per record: in a batch of 100 the calls between these would cost as much as zstd.
    """
    cdef list out = []
    cdef const uint8_t *at
    cdef Py_ssize_t size, begin
    cdef uint64_t packed
    cdef record_ends ends
    for record in records:
        if record is None:
            out.append(None)
            continue
        value = MISSING
        size = len(<bytes?>record)
        at = <const uint8_t *>bytes_start(record)
        if size >= RECORD_HEAD and at[0] == RECORD_MAGIC and at[2] == 0 and at[3] == 0:
            begin = RECORD_HEAD
            if not at[1] & RECORD_EXTENSION:
                ends.fresh = load_big(at + 12)
            else:
                begin = end_of_head(at, size)
                if begin == 0 or not find_ends(at, begin, &ends):
                    out.append(MISSING)  # decoded by itself, it says what is wrong
                    continue
            if not at[1] & ~RECORD_EXTENSION and size - begin <= max_size:
                value = PyBytes_FromStringAndSize(<const char *>at + begin, size - begin)
            elif at[1] & ~RECORD_EXTENSION == RECORD_COMPRESSED and size >= begin + 8:
                packed = load_big(at + begin)
                if packed >> 32 == dictionary and 0 < <uint32_t>packed <= max_size:
                    frame = PyBytes_FromStringAndSize(<const char *>at + begin + 8,
                                                      size - begin - 8)
                    try:
                        if frame_size(frame) == <uint32_t>packed:
                            value = decompress(frame, 0, False, False)
                    except Exception:
                        value = MISSING  # decoded by itself, it says what is wrong
        out.append(MISSING if value is MISSING
                   else (value, load_big(at + 4), ends.fresh))
    return out
