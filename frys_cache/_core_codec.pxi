"""Values to bytes and back, type by type: what both directions share, and the two functions.

`_core_encode.pxi` walks a value and writes msgpack, `_core_decode.pxi` reads it, `_core_times.pxi`
does both for times, and `_core_refusals.pxi` words what is refused; fc_msgpack.h has the table of
what is written.  Types are told apart by their address, never by isinstance: a
subclass is another type.  No code of a user runs while a value is walked, but `__hash__` and
`__eq__` of registered objects that are keys of a dict or in a set, to see what it will be when it
is made again, and then; the cycle collector may run others, so a walk holds what it looks at and notices containers that change.

Cost: a dict of 9 fields of 9 types in about 1 us each way.
Not chosen: msgspec with hooks, which are Python functions per object, and which forgets tuples.
"""

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context
from uuid import UUID, SafeUUID

from frys_cache.errors import (
    ConfigurationError,
    IntegrityError,
    SerializationError,
    Unreadable,
)

from libc.string cimport memcmp, memcpy

cdef extern from "fc_text.h":
    size_t fc_text_bytes(PyObject *text) noexcept
    void fc_text_write(PyObject *text, uint8_t *at) noexcept
    object fc_text_read(const uint8_t *data, size_t bytes)
    object fc_text_read_key(const uint8_t *data, size_t bytes)

cdef extern from "fc_civil.h":
    ctypedef struct fc_civil:
        int year, month, day
    int32_t fc_civil_days(fc_civil c) noexcept
    fc_civil fc_civil_of(int32_t days) noexcept
    const int64_t FC_CIVIL_FIRST, FC_CIVIL_END
    const int FC_DAY_SECONDS

cdef extern from "fc_unpack.h":
    enum: FC_EXT_TIMESTAMP, FC_EXT_INT, FC_EXT_TUPLE, FC_EXT_SET, FC_EXT_FROZENSET
    enum: FC_EXT_BYTEARRAY, FC_EXT_COMPLEX, FC_EXT_DECIMAL, FC_EXT_UUID, FC_EXT_DATE, FC_EXT_TIME
    enum: FC_EXT_DATETIME, FC_EXT_TIMEDELTA, FC_EXT_OBJECT, FC_EXT_MEMBER
    enum: FC_BAD, FC_NULL, FC_FALSE, FC_TRUE, FC_INT, FC_UINT, FC_REAL, FC_STR, FC_BIN
    enum: FC_ARRAY, FC_MAP, FC_EXT
    enum: FC_COST_LIST, FC_COST_DICT, FC_COST_SET, FC_COST_OBJECT
    uint64_t fc_cost_max(size_t bytes) noexcept
    void fc_store_be(uint8_t *at, uint64_t value, int bytes) noexcept
    uint64_t fc_load_be(const uint8_t *at, int bytes) noexcept
    uint64_t fc_bits_of(double value) noexcept
    double fc_double_of(uint64_t bits) noexcept

    ctypedef struct fc_pack:
        uint8_t *data
        size_t size
        bint failed
    void fc_pack_init(fc_pack *p, uint8_t *lent, size_t room, fc_alloc *alloc) noexcept
    void fc_pack_free(fc_pack *p) noexcept
    uint8_t *fc_pack_take(fc_pack *p, size_t bytes) noexcept
    void fc_pack_raw(fc_pack *p, const void *data, size_t bytes) noexcept
    void fc_pack_nil(fc_pack *p) noexcept
    void fc_pack_bool(fc_pack *p, bint value) noexcept
    void fc_pack_int(fc_pack *p, int64_t value) noexcept
    void fc_pack_uint(fc_pack *p, uint64_t value) noexcept
    void fc_pack_double(fc_pack *p, double value) noexcept
    void fc_pack_str_head(fc_pack *p, size_t bytes) noexcept
    void fc_pack_bin_head(fc_pack *p, size_t bytes) noexcept
    void fc_pack_array_head(fc_pack *p, size_t items) noexcept
    void fc_pack_map_head(fc_pack *p, size_t pairs) noexcept
    uint8_t *fc_pack_ext(fc_pack *p, size_t bytes, int8_t code) noexcept
    size_t fc_pack_open(fc_pack *p) noexcept
    bint fc_pack_close(fc_pack *p, size_t start, int8_t code) noexcept

    ctypedef struct fc_read:
        int8_t code
        uint32_t count
        uint64_t number
        const uint8_t *data
    ctypedef struct fc_unpack:
        const uint8_t *start
        const uint8_t *at
        const uint8_t *end
        const uint8_t *stop
        const char *wrong
        bint foreign
    void fc_unpack_init(fc_unpack *r, const uint8_t *data, size_t bytes) noexcept
    int fc_unpack_next(fc_unpack *r, fc_read *t) noexcept
    const uint8_t *fc_unpack_enter(fc_unpack *r, const fc_read *t) noexcept
    bint fc_unpack_pay(fc_unpack *r, uint64_t cost) noexcept
    bint fc_unpack_leave(fc_unpack *r, const uint8_t *end) noexcept

cdef extern from *:
    """
    #include <datetime.h>
    #ifdef Py_GIL_DISABLED
    #define FC_SNAPSHOTS 1 /* walk a copy of a container that other threads may change */
    #else
    #define FC_SNAPSHOTS 0
    #endif
    #if PY_VERSION_HEX >= 0x030d0000
    #define fc_int_write(o, at, bytes, is_signed) \\
        _PyLong_AsByteArray((PyLongObject *)(o), at, bytes, 0, is_signed, 1)
    #else
    #define fc_int_write(o, at, bytes, is_signed) \\
        _PyLong_AsByteArray((PyLongObject *)(o), at, bytes, 0, is_signed)
    #endif
    #define fc_int_read(at, bytes, is_signed) _PyLong_FromByteArray(at, bytes, 0, is_signed)
    static int
    fc_import_datetime(void)
    {
        PyDateTime_IMPORT;
        return PyDateTimeAPI == NULL ? -1 : 0;
    }
    #define fc_type_of(o) ((PyObject *)Py_TYPE(o))
    #define fc_slot_get(slot, o) Py_TYPE(slot)->tp_descr_get(slot, o, (PyObject *)Py_TYPE(o))
    #define fc_slot_set(slot, o, v) Py_TYPE(slot)->tp_descr_set(slot, o, v)
    #define fc_object_new(type) ((PyTypeObject *)(type))->tp_alloc((PyTypeObject *)(type), 0)
    #define fc_dict_new(items) ((items) <= 5 ? PyDict_New() : _PyDict_NewPresized(items))
    #define fc_date_new(y, m, d) PyDateTimeAPI->Date_FromDate(y, m, d, PyDateTimeAPI->DateType)
    #define fc_time_new(h, m, s, us, zone, fold) PyDateTimeAPI->Time_FromTimeAndFold( \\
        h, m, s, us, zone, fold, PyDateTimeAPI->TimeType)
    #define fc_datetime_new(y, mo, d, h, m, s, us, zone, fold) \\
        PyDateTimeAPI->DateTime_FromDateAndTimeAndFold( \\
            y, mo, d, h, m, s, us, zone, fold, PyDateTimeAPI->DateTimeType)
    #define fc_delta_new(d, s, us) PyDateTimeAPI->Delta_FromDelta( \\
        d, s, us, 1, PyDateTimeAPI->DeltaType)
    """
    const bint FC_SNAPSHOTS
    int fc_int_write(PyObject *o, uint8_t *at, size_t bytes, int is_signed) except -1
    object fc_int_read(const uint8_t *at, size_t bytes, int is_signed)
    PyObject *fc_slot_get(PyObject *slot, PyObject *o) noexcept
    int fc_slot_set(PyObject *slot, PyObject *o, PyObject *value) except -1
    object fc_object_new(PyObject *cls)
    object fc_dict_new(Py_ssize_t items)
    object fc_date_new(int y, int m, int d)
    object fc_time_new(int h, int m, int s, int us, object zone, int fold)
    object fc_datetime_new(int y, int mo, int d, int h, int m, int s, int us, object zone, int fold)
    object fc_delta_new(int days, int seconds, int us)

    int fc_import_datetime() except -1
    PyObject *PyDateTime_TimeZone_UTC
    bint PyDateTime_CheckExact(PyObject *o) noexcept
    bint PyDate_CheckExact(PyObject *o) noexcept
    bint PyTime_CheckExact(PyObject *o) noexcept
    bint PyDelta_CheckExact(PyObject *o) noexcept
    int PyDateTime_GET_YEAR(PyObject *o) noexcept
    int PyDateTime_GET_MONTH(PyObject *o) noexcept
    int PyDateTime_GET_DAY(PyObject *o) noexcept
    int PyDateTime_DATE_GET_HOUR(PyObject *o) noexcept
    int PyDateTime_DATE_GET_MINUTE(PyObject *o) noexcept
    int PyDateTime_DATE_GET_SECOND(PyObject *o) noexcept
    int PyDateTime_DATE_GET_MICROSECOND(PyObject *o) noexcept
    int PyDateTime_DATE_GET_FOLD(PyObject *o) noexcept
    PyObject *PyDateTime_DATE_GET_TZINFO(PyObject *o) noexcept
    int PyDateTime_TIME_GET_HOUR(PyObject *o) noexcept
    int PyDateTime_TIME_GET_MINUTE(PyObject *o) noexcept
    int PyDateTime_TIME_GET_SECOND(PyObject *o) noexcept
    int PyDateTime_TIME_GET_MICROSECOND(PyObject *o) noexcept
    int PyDateTime_TIME_GET_FOLD(PyObject *o) noexcept
    PyObject *PyDateTime_TIME_GET_TZINFO(PyObject *o) noexcept
    int PyDateTime_DELTA_GET_DAYS(PyObject *o) noexcept
    int PyDateTime_DELTA_GET_SECONDS(PyObject *o) noexcept
    int PyDateTime_DELTA_GET_MICROSECONDS(PyObject *o) noexcept

    ctypedef struct fc_view "Py_buffer":
        void *buf
        Py_ssize_t len
    int fc_view_open "PyObject_GetBuffer" (PyObject *o, fc_view *view, int flags) except -1
    void fc_view_close "PyBuffer_Release" (fc_view *view) noexcept
    PyObject *fc_type_of(PyObject *o) noexcept
    PyObject *Py_None
    PyObject *Py_True
    PyObject *Py_False
    bint PyUnicode_CheckExact(PyObject *o) noexcept
    bint PyLong_CheckExact(PyObject *o) noexcept
    bint PyFloat_CheckExact(PyObject *o) noexcept
    bint PyDict_CheckExact(PyObject *o) noexcept
    bint PyList_CheckExact(PyObject *o) noexcept
    bint PyTuple_CheckExact(PyObject *o) noexcept
    bint PyBytes_CheckExact(PyObject *o) noexcept
    bint PyByteArray_CheckExact(PyObject *o) noexcept
    bint PyComplex_CheckExact(PyObject *o) noexcept
    bint PySet_CheckExact(PyObject *o) noexcept
    bint PyFrozenSet_CheckExact(PyObject *o) noexcept
    double PyFloat_AS_DOUBLE(PyObject *o) noexcept
    double PyComplex_RealAsDouble(PyObject *o) noexcept
    double PyComplex_ImagAsDouble(PyObject *o) noexcept
    long long PyLong_AsLongLongAndOverflow(PyObject *o, int *overflow) except? -1
    object PyLong_FromLongLong(long long v)
    object PyLong_FromUnsignedLongLong(unsigned long long v)
    char *bytes_data "PyBytes_AS_STRING"(PyObject *o) noexcept
    Py_ssize_t bytes_size "PyBytes_GET_SIZE"(PyObject *o) noexcept
    Py_ssize_t list_size "PyList_GET_SIZE" (PyObject *o) noexcept
    PyObject *list_item "PyList_GET_ITEM" (PyObject *o, Py_ssize_t i) noexcept
    Py_ssize_t PyDict_GET_SIZE(PyObject *o) noexcept
    bint dict_next "PyDict_Next" (PyObject *o, Py_ssize_t *at, PyObject **key,
                                  PyObject **value) noexcept
    object PyObject_Str(PyObject *o)
    object PyUnicode_FromObject(object o)
    object PyObject_GenericGetDict(PyObject *o, void *context)
    void PyErr_Clear() noexcept
    void PyErr_Fetch(PyObject **cls, PyObject **value, PyObject **trace) noexcept
    void PyErr_Restore(PyObject *cls, PyObject *value, PyObject *trace) noexcept
    object bytes_new "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size)
    object bytearray_new "PyByteArray_FromStringAndSize"(const char *data, Py_ssize_t size)
    object complex_new "PyComplex_FromDoubles"(double real, double imaginary)
    object list_new "PyList_New"(Py_ssize_t size)
    object tuple_new "PyTuple_New"(Py_ssize_t size)
    void list_put "PyList_SET_ITEM"(object o, Py_ssize_t i, PyObject *owned) noexcept
    void tuple_put "PyTuple_SET_ITEM"(object o, Py_ssize_t i, PyObject *owned) noexcept
    int dict_set "PyDict_SetItem" (object o, object key, object value) except -1
    int PySet_Add(object o, object item) except -1

cdef enum:
    CODE_BYTES = 0
    CODE_STR = 1
    CODE_SCALAR = 2
    CODE_VALUE = 3
    CODE_BYTEARRAY = 5
    DEEPEST = 200    # levels: far from the end of a C stack, far above what is read by people
    LENT = 512       # bytes on the C stack, which most values fit into

fc_import_datetime()

# Addresses to compare types with; the modules hold them.
cdef PyObject *decimal_type = <PyObject *>Decimal
cdef PyObject *uuid_type = <PyObject *>UUID
cdef object timezone_class = type(<object>PyDateTime_TimeZone_UTC)
cdef object UUID_INT = UUID.__dict__["int"]
cdef object UUID_SAFE = UUID.__dict__["is_safe"]
# As wide as can be, and of nobody else: what a thread sets in its own context changes nothing.
cdef object make_decimal = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, clamp=0, capitals=1,
                                   traps=[], flags=[]).create_decimal
cdef object SAFE = SafeUUID.safe, UNSAFE = SafeUUID.unsafe, UNKNOWN = SafeUUID.unknown


# ---- registered types ---------------------------------------------------------------------------

@cython.final
cdef class Registered:
    """How a registered type is taken apart and put together; codec/registry.py finds out."""

    cdef object cls       # for ever, so its address stays its own
    cdef str name
    cdef tuple fields     # their names
    cdef tuple slots      # of each field: its member descriptor, or None: it is in the __dict__
    cdef tuple spare      # descriptors of slots that are no fields
    cdef frozenset given  # fields that the class itself has a value for
    cdef bint has_dict
    cdef bint by_identity  # no two objects are equal, or hash as one
    cdef dict members     # of an enum: name -> member; or None
    cdef dict names       # of an enum: address of a member -> name


cdef dict registered_types = {}  # address -> Registered; nothing is ever taken out of these two
cdef dict registered_names = {}  # name -> Registered


def _register(cls, str name, tuple fields, tuple slots, tuple spare, frozenset given,
              bint has_dict, dict members, bint by_identity):
    """Let values of this type be stored; the caller has looked at it and holds the lock.

    Raises TypeError for a name that is not exactly a str.
    """
    cdef Registered r = Registered.__new__(Registered)
    for one in (name, *fields, *(members or ())):
        if not PyUnicode_CheckExact(<PyObject *>one):  # pack_text would read what is not there
            raise TypeError(f"a name is a str, not {type_name(one)}")
    r.cls, r.name, r.fields, r.slots, r.spare = cls, name, fields, slots, spare
    r.given, r.has_dict, r.members = given, has_dict, members
    r.by_identity = by_identity
    if members is not None:
        r.names = {<size_t><PyObject *>member: key for key, member in members.items()}
    registered_types[<size_t><PyObject *>cls] = r
    registered_names[name] = r


def _registered(key):
    """The class of a name, or the name of a class; None: it has none."""
    cdef Registered r
    if isinstance(key, str):
        r = registered_names.get(key)
        return None if r is None else r.cls
    r = registered_types.get(<size_t><PyObject *>key)
    return None if r is None else r.name


# ---- the two functions --------------------------------------------------------------------------

include "_core_encode.pxi"
include "_core_refusals.pxi"
include "_core_decode.pxi"
include "_core_times.pxi"


def encode_value(value, /):
    """Return (code, body) for a value whose copy will equal it, type by type, at every depth.

    code: 0, `body` is the bytes given, not copied; 1, str; 2, int, float, bool or None; 3, what
    holds others, and other types; 5, bytearray.  `frys_cache.codec.values` lists the types.
    Raises SerializationError that names the part in the way for any other; MemoryError.
    Safe from any thread; a container that another thread changes meanwhile may be refused.

    >>> encode_value({"id": 7})
    (3, b'\\x81\\xa2id\\x07')
    """
    cdef PyObject *o = <PyObject *>value
    cdef Encoder e
    cdef uint8_t lent[LENT]
    cdef int code = CODE_VALUE
    if PyBytes_CheckExact(o):
        return CODE_BYTES, value
    if PyUnicode_CheckExact(o):
        return CODE_STR, text_to_bytes(o)
    if PyByteArray_CheckExact(o):
        return CODE_BYTEARRAY, bytes(value)
    if (PyLong_CheckExact(o) or PyFloat_CheckExact(o) or o == Py_None or o == Py_True
            or o == Py_False):
        code = CODE_SCALAR
    begin(&e, lent)
    if (<packer>pack)(&e, o) < 0:
        fc_pack_free(&e.out)
        explain(&e)
    if e.out.failed:
        raise MemoryError
    if e.cost > fc_cost_max(e.out.size):
        fc_pack_free(&e.out)
        raise SerializationError(
            f"value of {e.out.size} bytes has containers of {e.cost} bytes in memory, more than "
            f"the {fc_cost_max(e.out.size)} that are read back: store it in parts, or flatter")
    try:
        return code, bytes_new(<char *>e.out.data, <Py_ssize_t>e.out.size)
    finally:
        fc_pack_free(&e.out)


def decode_value(int code, bytes body not None, /):
    """Return the value that encode_value turned into (code, body).

    Nothing of what is read is run: no constructor of a class, no import by name.
    Raises IntegrityError for anything that encode_value has not written, and its subclass
    Unreadable for a registered type or a time zone that is not known here, or not as it was;
    TypeError for a body that is not exactly bytes; MemoryError; RecursionError of a `__hash__` or
    `__eq__` that runs.  Safe from any thread.

    >>> decode_value(3, b'\\x81\\xa2id\\x07')
    {'id': 7}
    """
    if code == CODE_BYTES:
        return body
    return decode_body(code, <const uint8_t *>bytes_data(<PyObject *>body),
                       <size_t>bytes_size(<PyObject *>body))
