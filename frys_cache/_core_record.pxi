"""Recordings of the live requests; the work is done in csrc/fc_record.h."""

import atexit

cdef extern from "fc_record.h":
    int fc_record_begin(fc_cache *c, int file, uint64_t salt) noexcept
    int fc_record_end(fc_cache *c) noexcept
    uint64_t fc_record_count(fc_cache *c) noexcept
    void fc_record_attach(fc_cache *c) noexcept
    void fc_record_forget(const fc_cache *c, fc_store *old) noexcept

cdef set recordings = set()  # those under way, which end with the process


@cython.final
cdef class Recording:
    """What `cache.record(path)` returns: records inside its `with` block."""

    cdef MemoryCache cache
    cdef object path
    cdef bint active
    cdef uint64_t counted

    def __cinit__(self, MemoryCache cache not None, path):
        self.cache = cache
        self.path = os.fspath(path)

    def __enter__(self):
        cdef int error
        if self.active or self.cache.c.recorder is not NULL:
            raise RuntimeError("this cache is recording already: one recording at a time")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        file = os.open(self.path, flags, 0o666)
        error = fc_record_begin(self.cache.c, file, int.from_bytes(os.urandom(8), "little"))
        if error:
            os.close(file)
            raise OSError(error, os.strerror(error), self.path)
        self.active = True
        recordings.add(self)
        return self

    def __exit__(self, kind, error, trace):
        failed = self.end()
        if failed is None:
            return
        if error is None:
            raise failed
        error.add_note(f"the recording to {self.path!r} failed: {failed}")

    cdef object end(self):
        """End the recording, once; the OSError of a write that has failed, or None."""
        cdef int error
        if not self.active:
            return None
        self.active = False
        recordings.discard(self)
        self.counted = fc_record_count(self.cache.c)
        error = fc_record_end(self.cache.c)
        return OSError(error, os.strerror(error), self.path) if error else None

    @property
    def requests(self):
        """How many requests were recorded so far."""
        return fc_record_count(self.cache.c) if self.active else self.counted


def _end_recordings():
    """End all, when the interpreter does."""
    for recording in list(recordings):
        (<Recording>recording).end()


atexit.register(_end_recordings)
