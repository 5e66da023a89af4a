"""Read what `_core_encode.pxi` has written, and nothing else.

Every byte may be hostile.  The reader checks lengths before anything is made of them; here depth,
duplicates, ranges and names are checked; and whatever a constructor still refuses becomes an
IntegrityError in `decode_body`.  What is missing here, a type or a zone, is Unreadable: the bytes
may be good.  Objects of registered types are allocated and their fields set:
their code does not run.
"""

cdef object decode_body(int code, const uint8_t *data, size_t size):
    """The value of a code and a body; for the code 0 a copy of the body."""
    cdef fc_unpack r
    if code == CODE_BYTES:
        return bytes_new(<const char *>data, <Py_ssize_t>size)
    if code == CODE_BYTEARRAY:
        return bytearray_new(<const char *>data, <Py_ssize_t>size)
    if code != CODE_STR and code != CODE_SCALAR and code != CODE_VALUE:
        raise IntegrityError(f"a stored value has the code {code}, which no value here has")
    fc_unpack_init(&r, data, size)
    try:
        if code == CODE_STR:
            return fc_text_read(data, size)
        value = read(&r, 0)
        if r.at != r.stop:
            r.wrong = "it goes on after its end"
            damaged(&r)
        if is_scalar(<PyObject *>value) != (code == CODE_SCALAR) or is_flat(<PyObject *>value):
            raise IntegrityError(f"a stored value is damaged: a {type(value).__name__} "
                                 f"under the code {code}")
        return value
    except (IntegrityError, MemoryError, RecursionError):
        raise
    except Exception as error:
        if r.foreign:
            raise Unreadable(f"a stored value cannot be read here: {type(error).__name__}, perhaps "
                             "of the __hash__ or __eq__ of a registered type") from error
        raise IntegrityError(f"a stored value is damaged: {type(error).__name__}: {error} "
                             f"(near byte {r.at - r.start} of {size})") from error


cdef bint is_scalar(PyObject *o) noexcept:
    return (PyLong_CheckExact(o) or PyFloat_CheckExact(o) or o == Py_None or o == Py_True
            or o == Py_False)


cdef bint is_flat(PyObject *o) noexcept:
    """Whether it has a code of its own."""
    return PyUnicode_CheckExact(o) or PyBytes_CheckExact(o) or PyByteArray_CheckExact(o)


cdef int damaged(fc_unpack *r, str wrong=None) except -1:
    if wrong is None:
        wrong = r.wrong.decode()
    raise IntegrityError(f"a stored value is damaged: {wrong} "
                         f"(byte {r.at - r.start} of {r.stop - r.start})")


cdef int twice(fc_unpack *r, str wrong) except -1:
    if r.foreign:
        raise Unreadable(f"a stored value cannot be read here: {wrong}, perhaps as the __eq__ of a "
                         "registered type has it, which was another when it was stored")
    return damaged(r, wrong)


cdef int check_container(fc_unpack *r, int depth, uint64_t cost) except -1:
    if depth > DEEPEST:
        damaged(r, f"it is nested deeper than {DEEPEST} levels")
    if not fc_unpack_pay(r, cost):
        damaged(r)
    return 0


cdef object read(fc_unpack *r, int depth):
    """The next item."""
    cdef fc_read t
    cdef int item = fc_unpack_next(r, &t)
    if item == FC_STR:
        return fc_text_read(t.data, t.count)
    if item == FC_INT:
        return PyLong_FromLongLong(<int64_t>t.number)
    if item == FC_EXT:
        return read_ext(r, &t, depth)
    if item == FC_TRUE:
        return True
    if item == FC_FALSE:
        return False
    if item == FC_NULL:
        return None
    if item == FC_REAL:
        return fc_double_of(t.number)
    if item == FC_MAP:
        return read_dict(r, t.count, depth + 1)
    if item == FC_ARRAY:
        return read_list(r, t.count, depth + 1)
    if item == FC_BIN:
        return bytes_new(<const char *>t.data, t.count)
    if item == FC_UINT:
        return PyLong_FromUnsignedLongLong(t.number)
    damaged(r)


cdef object read_key(fc_unpack *r, int depth):
    cdef fc_read t
    cdef uint8_t head = r.at[0] if r.at < r.end else 0
    if 0xa0 <= head < 0xc0 or head == 0xd9:
        if fc_unpack_next(r, &t) == FC_BAD:
            damaged(r)
        return fc_text_read_key(t.data, t.count)
    return read(r, depth)


# ---- containers ---------------------------------------------------------------------------------

cdef object read_list(fc_unpack *r, uint32_t count, int depth):
    cdef Py_ssize_t i
    check_container(r, depth, FC_COST_LIST)
    made = list_new(count)
    for i in range(count):
        item = read(r, depth)
        Py_INCREF(<PyObject *>item)
        list_put(made, i, <PyObject *>item)
    return made


cdef object read_dict(fc_unpack *r, uint32_t count, int depth):
    cdef uint32_t i
    check_container(r, depth, FC_COST_DICT)
    # A table is larger than its bytes: a large one grows with what has been read.
    made = fc_dict_new(count if count < 1024 else 1024)
    for i in range(count):
        key = read_key(r, depth)
        dict_set(made, key, read(r, depth))
    if PyDict_GET_SIZE(<PyObject *>made) != count:
        twice(r, "a dict has the same key twice")
    return made


cdef object read_array(fc_unpack *r, const fc_read *ext, int depth, bint ordered):
    """The items of the array in an extension: a tuple, or a set."""
    cdef const uint8_t *end = fc_unpack_enter(r, ext)
    cdef fc_read t
    cdef Py_ssize_t i
    check_container(r, depth, FC_COST_LIST if ordered else FC_COST_SET)
    if fc_unpack_next(r, &t) != FC_ARRAY:
        damaged(r, "an extension without its array" if r.wrong is NULL else None)
    made = tuple_new(t.count) if ordered else set()
    for i in range(t.count):
        item = read(r, depth)
        if ordered:
            Py_INCREF(<PyObject *>item)
            tuple_put(made, i, <PyObject *>item)
        else:
            PySet_Add(made, item)
    if not ordered and <uint32_t>len(<set>made) != t.count:
        twice(r, "a set has the same item twice")
    if not fc_unpack_leave(r, end):
        damaged(r)
    return made


# ---- extensions ---------------------------------------------------------------------------------

cdef object read_ext(fc_unpack *r, fc_read *t, int depth):
    cdef int code = t.code
    if code == FC_EXT_TUPLE:
        return read_array(r, t, depth + 1, True)
    if code == FC_EXT_TIMESTAMP:
        return read_timestamp(r, t)
    if code == FC_EXT_DECIMAL:
        return read_decimal(r, t)
    if code == FC_EXT_UUID:
        return read_uuid(r, t)
    if code == FC_EXT_DATETIME:
        return read_datetime(r, t)
    if code == FC_EXT_SET:
        return read_array(r, t, depth + 1, False)
    if code == FC_EXT_FROZENSET:
        return frozenset(read_array(r, t, depth + 1, False))
    if code == FC_EXT_OBJECT or code == FC_EXT_MEMBER:
        return read_registered(r, t, depth + 1)
    if code == FC_EXT_TIME:
        return read_time(r, t)
    if code == FC_EXT_BYTEARRAY:
        return bytearray_new(<const char *>t.data, t.count)
    if code == FC_EXT_INT:
        return read_int(r, t)
    if code == FC_EXT_COMPLEX and t.count == 16:
        return complex_new(fc_double_of(fc_load_be(t.data, 8)),
                           fc_double_of(fc_load_be(t.data + 8, 8)))
    if code == FC_EXT_DATE and t.count == 4:
        return fc_date_new(<int>fc_load_be(t.data, 2), t.data[2], t.data[3])
    if code == FC_EXT_TIMEDELTA and t.count == 12:
        return read_delta(r, t)
    damaged(r, f"an extension {code} of {t.count} bytes, which is never written")


cdef object read_int(fc_unpack *r, fc_read *t):
    cdef size_t count = t.count
    # Shorter ones have their own form; and the first byte must be more than the sign of the second.
    if count < 9 or (count == 9 and t.data[0] == 0) or (
            (t.data[0] == 0 and t.data[1] < 0x80) or (t.data[0] == 0xff and t.data[1] >= 0x80)):
        damaged(r, "an int is not in its shortest form")
    return fc_int_read(t.data, count, 1)


cdef object read_decimal(fc_unpack *r, fc_read *t):
    if not is_decimal(t.data, t.count):
        damaged(r, "the text of a Decimal is none")
    text = fc_text_read(t.data, t.count)
    made = make_decimal(text)
    usual = PyObject_Str(<PyObject *>made)
    # The one letter that the context of a thread may change.
    if usual != text and usual.replace("e", "E") != text:
        damaged(r, "a Decimal is out of range, or not in its usual form")
    return made


cdef bint is_decimal(const uint8_t *at, size_t size) noexcept:
    """[-] digits [. digits] [E sign digits], or [-] Infinity, NaN digits, sNaN digits."""
    cdef const uint8_t *end = at + size
    cdef size_t digits
    if at < end and at[0] == c"-":
        at += 1
    if end - at == 8 and memcmp(at, b"Infinity", 8) == 0:
        return True
    if at < end and (at[0] == c"s" or at[0] == c"N"):
        at += at[0] == c"s"
        if end - at < 3 or memcmp(at, b"NaN", 3) != 0:
            return False
        return skip_digits(at + 3, end) == end
    digits = <size_t>(skip_digits(at, end) - at)
    at += digits
    if digits and at < end and at[0] == c".":
        digits = <size_t>(skip_digits(at + 1, end) - (at + 1))
        at += 1 + digits
    if digits and at < end and at[0] == c"E":
        if end - at < 2 or (at[1] != c"+" and at[1] != c"-"):
            return False
        digits = <size_t>(skip_digits(at + 2, end) - (at + 2))
        at += 2 + digits
    return digits > 0 and at == end


cdef const uint8_t *skip_digits(const uint8_t *at, const uint8_t *end) noexcept:
    while at < end and c"0" <= at[0] <= c"9":
        at += 1
    return at


cdef object read_uuid(fc_unpack *r, fc_read *t):
    cdef PyObject *safe = <PyObject *>UNKNOWN
    if t.count == 17 and (t.data[16] == 0 or t.data[16] == 0xff):
        safe = <PyObject *>(SAFE if t.data[16] == 0 else UNSAFE)
    elif t.count != 16:
        damaged(r, "a UUID has another length")
    made = fc_object_new(uuid_type)
    number = fc_int_read(t.data, 16, 0)
    fc_slot_set(<PyObject *>UUID_INT, <PyObject *>made, <PyObject *>number)
    fc_slot_set(<PyObject *>UUID_SAFE, <PyObject *>made, safe)
    return made


# ---- registered types ---------------------------------------------------------------------------

cdef object read_registered(fc_unpack *r, fc_read *ext, int depth):
    cdef const uint8_t *end = fc_unpack_enter(r, ext)
    cdef fc_read t
    cdef Registered known
    check_container(r, depth, FC_COST_OBJECT if ext.code == FC_EXT_OBJECT else 0)
    if fc_unpack_next(r, &t) != FC_ARRAY or t.count != 2 or fc_unpack_next(r, &t) != FC_STR:
        damaged(r, "a registered object without its name" if r.wrong is NULL else None)
    name = fc_text_read_key(t.data, t.count)
    known = registered_names.get(name)
    if known is None:
        raise Unreadable(f"a stored value is of the type registered as {name!r}, which is not "
                         f"registered here: call register_type(cls, name={name!r})")
    if (ext.code == FC_EXT_MEMBER) != (known.members is not None):
        raise Unreadable(f"a stored value says of the type registered as {name!r} what "
                         f"{class_name(known.cls)} is not: register it under another name")
    if ext.code == FC_EXT_MEMBER:
        if fc_unpack_next(r, &t) != FC_STR:
            damaged(r, "a member of an enum without its name" if r.wrong is NULL else None)
        member = fc_text_read_key(t.data, t.count)
        if member not in known.members:
            raise Unreadable(f"{class_name(known.cls)} has no member {member!r}, which a "
                             "stored value is: give it back that member")
        made = known.members[member]
    else:
        if fc_unpack_next(r, &t) != FC_MAP:
            damaged(r, "a registered object without its fields" if r.wrong is NULL else None)
        made = read_object(known, read_dict(r, t.count, depth))
        r.foreign = True
    if not fc_unpack_leave(r, end):
        damaged(r)
    return made


cdef object read_object(Registered known, dict state):
    """An object of these fields, each put where it belongs; all is looked at before it is made."""
    cdef Py_ssize_t i, found = 0
    own = None
    for i in range(len(known.fields)):
        if known.fields[i] in state:
            found += 1
        elif known.fields[i] not in known.given:
            raise Unreadable(f"{class_name(known.cls)} has a field {known.fields[i]!r}, which "
                             "a stored value has not: give it a default")
    if found != len(state):
        extra = [name for name in state if name not in known.fields]
        raise Unreadable(f"{class_name(known.cls)} has no field {extra[0]!r}, which a stored "
                         "value has: register it under another name")
    made = fc_object_new(<PyObject *>known.cls)
    # Not through setattr, which would run a descriptor that the class has been given since.
    if known.has_dict:
        own = PyObject_GenericGetDict(<PyObject *>made, NULL)
    for i in range(len(known.fields)):
        name = known.fields[i]
        if name in state:
            value = state[name]
            if known.slots[i] is not None:
                fc_slot_set(<PyObject *>known.slots[i], <PyObject *>made, <PyObject *>value)
            else:
                dict_set(own, name, value)
    return made
