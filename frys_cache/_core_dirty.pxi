"""What a put that is written back touches: the write itself, and where it is kept until it is sent.

Only the straight path is here, that of a key which is not dirty, whose version is above all before,
and for which there is room.  Everything else is in dirty.py, whose `Dirty` has these fields, and is
Python: it waits, compares, or is done by a thread of its own.
Cost: 0.5 us beside the journal's, where the same in Python took 3.
"""


LOGGED = 4


@cython.final
cdef class Op:
    """One write that is still to be sent.

    record: what the codec made of the value, or b"" without a codec; then `value` is the object.
    Of a bytes or a str it is made anew whenever it is asked for: the value is there anyway.
    since, due: seconds of the steady clock: when it came, and not before when it is sent.
    failed_at: how many writes the backend had taken when this one first failed; 0: it has not.
    """
    cdef readonly object code, key, version, expires_ms, value
    cdef object kept_record, held
    cdef readonly bint is_delete
    cdef readonly int64_t size
    cdef public double since, due
    cdef public int64_t attempts, failed_at
    cdef public int state

    def __init__(self, code, key, version, expires_ms, record, value, bint is_delete, int64_t size,
                 double since):
        self.code = code
        self.key = key
        self.version = version
        self.expires_ms = expires_ms
        self.kept_record = record
        self.value = value
        self.is_delete = is_delete
        self.size = size
        self.since = since

    @property
    def record(self):
        """What the codec made of the value."""
        if self.kept_record is not None:
            return self.kept_record
        number, body = encode_value(self.held)
        return plain_record(number, body, self.version, self.expires_ms)


cdef bytes plain_record(uint8_t number, bytes body, version, ends):
    """A record that is neither compressed nor signed."""
    cdef Py_ssize_t size = len(body)
    cdef bytes record = PyBytes_FromStringAndSize(NULL, RECORD_HEAD + size)
    cdef uint8_t *to = <uint8_t *>bytes_start(record)
    to[0] = RECORD_MAGIC
    to[1] = 0
    to[2] = number
    to[3] = 0
    store_big(to + 4, version)
    store_big(to + 12, ends)
    memcpy(to + RECORD_HEAD, bytes_start(body), size)
    return record


cdef class Intake:
    """The fields of `Dirty` that a put touches.  `lock` guards all of them."""
    cdef readonly dict ops
    cdef public dict dead
    cdef public object lock, queue, stripe, steady
    cdef public int64_t size, max_entries, max_bytes, ring_entries, ring_bytes
    cdef public bint closing
    # Whether there ever was something in `dead`; it stays, for a reader has no lock.
    cdef public bint buries

    def __cinit__(self):
        self.ops = {}
        self.dead = {}

    def find(self, code):
        """Return the write of a code that the backend does not have, or None.

        One that is still to be sent, or was set aside: it was acknowledged, so it is what is read.
        """
        op = self.ops.get(code)
        if op is None and self.buries:
            letter = self.dead.get(code)
            if letter is None:
                # It may have been on its way from there to here.
                return self.ops.get(code)
            if letter.readable:
                return letter.op
        return op

    def take(self, bytes code not None, key, bytes record not None, version, expires_ms, tier,
             held=None):
        """Journal a write and make it dirty; True: taken, False: and somebody must ring.

        tier: what keeps the journal, with the fields and the method of `tiers/settling.py`; None:
        there is no journal.  held: the bytes or str itself, from which the record can be made again.

        An Op, the write: it is not taken, and more than this has to be looked at.  Where its state
        is `LOGGED`, the journal has it already, and has to say again what `ops` says.
        """
        cdef Op op = Op.__new__(Op)
        cdef Op other
        cdef int64_t left, size = len(code) + len(record)
        op.code = code
        op.key = key
        op.version = version
        op.expires_ms = expires_ms
        op.kept_record = record if held is None else None
        op.held = held
        op.value = MISSING
        op.size = size
        op.since = self.steady()
        with self.lock:
            if (self.closing or len(self.ops) >= self.max_entries
                    or self.size + size > self.max_bytes or len(self.dead)
                    or version <= self.stripe.top or code in self.ops):
                return op
            self.stripe.top = version
            if tier is not None:
                left = tier._budget - size
                if left < 0:
                    tier.put_journal(code, record)
                else:
                    tier._budget = left
                    tier._journal(code, record)
            # In there a destructor or a handler may have put the same key, or cleared all.
            if code in self.ops or self.stripe.top != version:
                op.state = LOGGED
                return op
            self.ops[code] = op
            self.size += size
            self.queue.append(op)
            return len(self.queue) < self.ring_entries and self.size < self.ring_bytes


@cython.final
cdef class Deposit:
    """The straight path of a put that only has to wait: key, value and record are made in C.

    intake: where it waits.  encode: gives the bytes of a key.  max_size: bytes of a value.  draw:
    gives a version, wall the milliseconds since 1970.  log: what `Intake.take` takes as tier.
    forget: called with the key first, so that nothing older is given out that is kept beside
    memory; or None.  rest: called with an answer of `Intake.take` that is not True; gives whether
    the write is taken.  failed: called with what that has raised; raises what is to be raised.
    on: turned off in a forked child, where there is no journal.
    """
    cdef Intake intake
    cdef object encode, draw, wall, log, forget, rest, failed
    cdef Py_ssize_t max_size
    cdef public bint on

    def __init__(self, Intake intake not None, encode, Py_ssize_t max_size, draw, wall, log, forget,
                 rest, failed):
        self.intake = intake
        self.encode = encode
        self.max_size = max_size
        self.draw = draw
        self.wall = wall
        self.log = log
        self.forget = forget
        self.rest = rest
        self.failed = failed
        self.on = True

    cdef bint put(self, object key, object value, object life) except -1:
        """Whether the write is taken; where not, it has to go the long way."""
        cdef Py_ssize_t size
        code = self.encode(key)
        number, body = encode_value(value)
        size = len(<bytes?>body)
        if size > self.max_size:
            raise ValueTooLarge(size, self.max_size)
        ends = 0 if life is None else self.wall() + max(1, round(life * 1000))
        if self.forget is not None:
            self.forget(key)
        version = self.draw()
        record = plain_record(number, body, version, ends)
        held = value if type(value) is bytes or type(value) is str else None
        try:
            taken = self.intake.take(code, key, record, version, ends, self.log, held)
        except Exception as error:
            self.failed(error)
            raise
        return taken is True or self.rest(taken) is True
