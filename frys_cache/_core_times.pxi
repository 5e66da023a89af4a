"""Dates, times and their zones, in both directions; fc_msgpack.h says how they are written.

A datetime in UTC, the commonest, is the timestamp of msgpack, which others know.  Any other carries
its calendar fields and its zone: converted to UTC it would have lost what its clock showed.
No method of a zone is called but those of the two classes that are known.
"""

cdef object ZoneInfo = None  # imported for the first zone that is read


# ---- writing ------------------------------------------------------------------------------------

cdef int pack_zone(Encoder *e, PyObject *zone) except -1:
    """Write the end of a time or datetime: where its clock stands."""
    cdef uint8_t *at
    if zone == Py_None:
        return 0
    if zone == PyDateTime_TimeZone_UTC:
        fc_pack_raw(&e.out, b"\0", 1)
        return 0
    e.stirred += 1
    cls = type(<object>zone)
    if cls is timezone_class:
        parts = (<object>zone).__getinitargs__()
        delta = parts[0]
        if not PyDelta_CheckExact(<PyObject *>delta) or (
                len(parts) == 2 and type(parts[1]) is not str):
            return deny("has a timezone made of a subclass: make it of a timedelta and a str")
        fc_pack_raw(&e.out, b"\1" if len(parts) == 1 else b"\2", 1)
        at = fc_pack_take(&e.out, 8)
        if at is not NULL:
            fc_store_be(at, <uint64_t><int64_t>(
                (PyDateTime_DELTA_GET_DAYS(<PyObject *>delta) * <int64_t>FC_DAY_SECONDS
                 + PyDateTime_DELTA_GET_SECONDS(<PyObject *>delta)) * 1_000_000
                + PyDateTime_DELTA_GET_MICROSECONDS(<PyObject *>delta)), 8)
        return pack_raw_text(e, parts[1]) if len(parts) == 2 else 0
    zoneinfo = sys.modules.get("zoneinfo")
    if zoneinfo is None or cls is not zoneinfo.ZoneInfo:
        return deny(f"has a tzinfo of type {type_name(<object>zone)}: "
                      "use datetime.timezone or zoneinfo.ZoneInfo")
    try:
        key, cached = (<object>zone).__reduce__()[1]
    except Exception:  # pickle.PicklingError: it was read from a file
        key = cached = None
    if type(key) is not str or not cached:
        return deny("has a ZoneInfo that is not found by its key: make it by ZoneInfo(key)")
    fc_pack_raw(&e.out, b"\3", 1)
    return pack_raw_text(e, key)


cdef int pack_raw_text(Encoder *e, str text) except -1:
    cdef uint8_t *at = fc_pack_take(&e.out, fc_text_bytes(<PyObject *>text))
    if at is not NULL:
        fc_text_write(<PyObject *>text, at)
    return 0


cdef inline void store_date(uint8_t *at, PyObject *o) noexcept:
    fc_store_be(at, <uint64_t>PyDateTime_GET_YEAR(o), 2)
    at[2] = <uint8_t>PyDateTime_GET_MONTH(o)
    at[3] = <uint8_t>PyDateTime_GET_DAY(o)


cdef int pack_date(Encoder *e, PyObject *o) except -1:
    cdef uint8_t *at = fc_pack_ext(&e.out, 4, FC_EXT_DATE)
    if at is not NULL:
        store_date(at, o)
    return 0


cdef int pack_time(Encoder *e, PyObject *o) except -1:
    cdef size_t start = fc_pack_open(&e.out)
    cdef uint8_t *at = fc_pack_take(&e.out, 6)
    if at is not NULL:
        at[0] = <uint8_t>PyDateTime_TIME_GET_HOUR(o)
        at[1] = <uint8_t>PyDateTime_TIME_GET_MINUTE(o)
        at[2] = <uint8_t>PyDateTime_TIME_GET_SECOND(o)
        fc_store_be(at + 3, <uint64_t>(PyDateTime_TIME_GET_MICROSECOND(o)
                                       | PyDateTime_TIME_GET_FOLD(o) << 23), 3)
    pack_zone(e, PyDateTime_TIME_GET_TZINFO(o))
    return pack_close(e, start, FC_EXT_TIME)


cdef int pack_datetime(Encoder *e, PyObject *o) except -1:
    cdef PyObject *zone = PyDateTime_DATE_GET_TZINFO(o)
    cdef size_t start
    cdef uint8_t *at
    if zone == PyDateTime_TimeZone_UTC and PyDateTime_DATE_GET_FOLD(o) == 0:
        pack_timestamp(e, o)
        return 0
    start = fc_pack_open(&e.out)
    at = fc_pack_take(&e.out, 10)
    if at is not NULL:
        store_date(at, o)
        at[4] = <uint8_t>PyDateTime_DATE_GET_HOUR(o)
        at[5] = <uint8_t>PyDateTime_DATE_GET_MINUTE(o)
        at[6] = <uint8_t>PyDateTime_DATE_GET_SECOND(o)
        fc_store_be(at + 7, <uint64_t>(PyDateTime_DATE_GET_MICROSECOND(o)
                                       | PyDateTime_DATE_GET_FOLD(o) << 23), 3)
    pack_zone(e, zone)
    return pack_close(e, start, FC_EXT_DATETIME)


cdef void pack_timestamp(Encoder *e, PyObject *o) noexcept:
    """The timestamp of msgpack in the shortest of its three forms."""
    cdef fc_civil day
    cdef int64_t seconds
    cdef uint64_t nanoseconds = <uint64_t>PyDateTime_DATE_GET_MICROSECOND(o) * 1000
    cdef uint8_t *at
    day.year = PyDateTime_GET_YEAR(o)
    day.month = PyDateTime_GET_MONTH(o)
    day.day = PyDateTime_GET_DAY(o)
    seconds = (fc_civil_days(day) * <int64_t>FC_DAY_SECONDS
               + PyDateTime_DATE_GET_HOUR(o) * 3600 + PyDateTime_DATE_GET_MINUTE(o) * 60
               + PyDateTime_DATE_GET_SECOND(o))
    if seconds < 0 or seconds >> 34:
        at = fc_pack_ext(&e.out, 12, FC_EXT_TIMESTAMP)
        if at is not NULL:
            fc_store_be(at, nanoseconds, 4)
            fc_store_be(at + 4, <uint64_t>seconds, 8)
    elif nanoseconds or seconds >> 32:
        at = fc_pack_ext(&e.out, 8, FC_EXT_TIMESTAMP)
        if at is not NULL:
            fc_store_be(at, nanoseconds << 34 | <uint64_t>seconds, 8)
    else:
        at = fc_pack_ext(&e.out, 4, FC_EXT_TIMESTAMP)
        if at is not NULL:
            fc_store_be(at, <uint64_t>seconds, 4)


cdef int pack_delta(Encoder *e, PyObject *o) except -1:
    cdef uint8_t *at = fc_pack_ext(&e.out, 12, FC_EXT_TIMEDELTA)
    if at is not NULL:
        fc_store_be(at, <uint64_t><int64_t>PyDateTime_DELTA_GET_DAYS(o), 4)
        fc_store_be(at + 4, <uint64_t>PyDateTime_DELTA_GET_SECONDS(o), 4)
        fc_store_be(at + 8, <uint64_t>PyDateTime_DELTA_GET_MICROSECONDS(o), 4)
    return 0


# ---- reading ------------------------------------------------------------------------------------

cdef object read_timestamp(fc_unpack *r, fc_read *t):
    cdef uint64_t nanoseconds = 0
    cdef int64_t seconds, of_day
    cdef fc_civil day
    cdef bint fine = True
    if t.count == 4:
        seconds = <int64_t>fc_load_be(t.data, 4)
    elif t.count == 8:
        nanoseconds = fc_load_be(t.data, 8)
        seconds = <int64_t>(nanoseconds & ((<uint64_t>1 << 34) - 1))
        nanoseconds >>= 34
        fine = nanoseconds != 0 or seconds >> 32 != 0
    elif t.count == 12:
        nanoseconds = fc_load_be(t.data, 4)
        seconds = <int64_t>fc_load_be(t.data + 4, 8)
        fine = seconds < 0 or seconds >> 34 != 0
    else:
        fine = False
        seconds = 0
    if (not fine or not FC_CIVIL_FIRST <= seconds < FC_CIVIL_END or nanoseconds >= 1_000_000_000
            or nanoseconds % 1000 != 0):
        damaged(r, "a timestamp is out of range, or not in its shortest form")
    seconds -= FC_CIVIL_FIRST
    of_day = seconds % FC_DAY_SECONDS
    day = fc_civil_of(<int32_t>(seconds // FC_DAY_SECONDS + FC_CIVIL_FIRST // FC_DAY_SECONDS))
    return fc_datetime_new(day.year, day.month, day.day, <int>(of_day // 3600),
                           <int>(of_day // 60 % 60), <int>(of_day % 60),
                           <int>(nanoseconds // 1000), <object>PyDateTime_TimeZone_UTC, 0)


cdef object read_zone(fc_unpack *r, const uint8_t *at, size_t size):
    """The zone that these last bytes of a time or datetime tell."""
    global ZoneInfo
    cdef int64_t offset
    if size == 0:
        return None
    if at[0] == 0 and size == 1:
        return <object>PyDateTime_TimeZone_UTC
    if (at[0] == 1 and size == 9) or (at[0] == 2 and size >= 9):
        offset = <int64_t>fc_load_be(at + 1, 8)
        if -86_400_000_000 < offset < 86_400_000_000 and (offset != 0 or at[0] == 2):
            delta = fc_delta_new(0, <int>(offset // 1_000_000), <int>(offset % 1_000_000))
            if at[0] == 1:
                return timezone_class(delta)
            return timezone_class(delta, fc_text_read(at + 9, size - 9))
    if at[0] == 3:
        key = fc_text_read(at + 1, size - 1)
        if ZoneInfo is None:
            from zoneinfo import ZoneInfo as Found
            ZoneInfo = Found
        try:
            return ZoneInfo(key)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:
            raise Unreadable(f"a stored value has the time zone {key!r}, which is not known "
                             "here: install the package tzdata") from error
    damaged(r, "a time zone is none")


cdef object read_time(fc_unpack *r, fc_read *t):
    cdef int last
    if t.count < 6:
        damaged(r, "a time is too short")
    last = <int>fc_load_be(t.data + 3, 3)
    return fc_time_new(t.data[0], t.data[1], t.data[2], last & 0x7fffff,
                       read_zone(r, t.data + 6, t.count - 6), last >> 23)


cdef object read_datetime(fc_unpack *r, fc_read *t):
    cdef int last
    if t.count < 10:
        damaged(r, "a datetime is too short")
    last = <int>fc_load_be(t.data + 7, 3)
    if t.count == 11 and t.data[10] == 0 and last >> 23 == 0:
        damaged(r, "a datetime is not in its shortest form")
    return fc_datetime_new(<int>fc_load_be(t.data, 2), t.data[2], t.data[3], t.data[4], t.data[5],
                           t.data[6], last & 0x7fffff,
                           read_zone(r, t.data + 10, t.count - 10), last >> 23)


cdef object read_delta(fc_unpack *r, fc_read *t):
    cdef uint64_t seconds = fc_load_be(t.data + 4, 4), microseconds = fc_load_be(t.data + 8, 4)
    if seconds >= <uint64_t>FC_DAY_SECONDS or microseconds >= 1_000_000:
        damaged(r, "a timedelta is out of range")
    return fc_delta_new(<int32_t>fc_load_be(t.data, 4), <int>seconds, <int>microseconds)
