"""Walk a value and write it.

`pack` and what it calls return -1 with an exception; a walk through a container calls them through
`packer`, which does not look, to add where it was to the path and let go of what it holds.
"""

ctypedef int (*packer)(Encoder *e, PyObject *o) noexcept

cdef struct Encoder:
    fc_pack out
    fc_alloc alloc
    int depth
    int keyed             # how many keys and items of sets are around what is being written
    uint64_t cost         # of the containers, in memory
    size_t objects        # of registered classes, that were written
    unsigned int stirred  # how often the cycle collector, and so anyone, may have run
    PyObject *path        # owned list, from the inside out; NULL until something is refused


cdef void begin(Encoder *e, uint8_t *lent) noexcept:
    fc_alloc_init(&e.alloc)
    fc_pack_init(&e.out, lent, LENT, &e.alloc)
    e.depth = e.keyed = 0
    e.objects = 0
    e.cost = 0
    e.stirred = 0
    e.path = NULL


# ---- what holds no other ------------------------------------------------------------------------

cdef bytes text_to_bytes(PyObject *o):
    made = bytes_new(NULL, <Py_ssize_t>fc_text_bytes(o))
    fc_text_write(o, <uint8_t *>bytes_data(<PyObject *>made))
    return made


cdef inline int pack_text(Encoder *e, PyObject *o) except -1:
    cdef size_t size = fc_text_bytes(o)
    cdef uint8_t *at
    if size > 0xffffffff:
        check_count(size)
    fc_pack_str_head(&e.out, size)
    at = fc_pack_take(&e.out, size)
    if at is not NULL:
        fc_text_write(o, at)
    return 0


cdef inline int pack_int(Encoder *e, PyObject *o) except -1:
    cdef int overflow
    cdef int64_t value = PyLong_AsLongLongAndOverflow(o, &overflow)
    if overflow != 0:
        return pack_long(e, <object>o, overflow)
    fc_pack_int(&e.out, value)
    return 0


cdef int pack_long(Encoder *e, o, int sign) except -1:
    cdef size_t bits = o.bit_length() if sign > 0 else (~o).bit_length()
    cdef uint8_t *at
    if sign > 0 and bits <= 64:
        fc_pack_uint(&e.out, <uint64_t>o)
        return 0
    check_count(bits // 8 + 1)
    at = fc_pack_ext(&e.out, bits // 8 + 1, FC_EXT_INT)
    if at is not NULL:
        fc_int_write(<PyObject *>o, at, bits // 8 + 1, 1)
    return 0


cdef int pack_bytes(Encoder *e, PyObject *o) except -1:
    cdef size_t size = <size_t>bytes_size(o)
    check_count(size)
    fc_pack_bin_head(&e.out, size)
    fc_pack_raw(&e.out, bytes_data(o), size)
    return 0


cdef int pack_bytearray(Encoder *e, PyObject *o) except -1:
    cdef fc_view view
    cdef uint8_t *at
    fc_view_open(o, &view, 0)  # it cannot be resized now
    try:
        check_count(<size_t>view.len)
        at = fc_pack_ext(&e.out, <size_t>view.len, FC_EXT_BYTEARRAY)
        if at is not NULL:
            memcpy(at, view.buf, <size_t>view.len)
    finally:
        fc_view_close(&view)
    return 0


cdef int pack_decimal(Encoder *e, PyObject *o) except -1:
    cdef PyObject *text
    cdef uint8_t *at
    cdef size_t size, i
    made = PyObject_Str(o)
    text = <PyObject *>made
    size = fc_text_bytes(text)
    check_count(size)
    at = fc_pack_ext(&e.out, size, FC_EXT_DECIMAL)
    if at is not NULL:
        fc_text_write(text, at)
        for i in range(size):
            if at[i] == c"e":  # which the thread's decimal context may ask for
                at[i] = c"E"
    return 0


cdef int pack_uuid(Encoder *e, PyObject *o) except -1:
    cdef PyObject *got = fc_slot_get(<PyObject *>UUID_INT, o)
    cdef PyObject *safe
    cdef uint8_t *at
    if got is NULL:
        PyErr_Clear()
        return deny("is a UUID without a number")
    number = fc_steal(got)
    safe = fc_slot_get(<PyObject *>UUID_SAFE, o)
    if safe is NULL:
        PyErr_Clear()
        return deny("is a UUID that does not say whether it is safe")
    known = fc_steal(safe)
    if not PyLong_CheckExact(got) or not 0 <= number < 1 << 128 or (
            known is not UNKNOWN and known is not SAFE and known is not UNSAFE):
        return deny("is a UUID whose number is none")
    at = fc_pack_ext(&e.out, 16 if known is UNKNOWN else 17, FC_EXT_UUID)
    if at is not NULL:
        fc_int_write(got, at, 16, 0)
        if known is not UNKNOWN:
            at[16] = 0 if known is SAFE else 0xff
    return 0


cdef int pack_close(Encoder *e, size_t start, int8_t code) except -1:
    if not fc_pack_close(&e.out, start, code):
        return check_count(e.out.size - start)
    return 0


# ---- containers ---------------------------------------------------------------------------------

cdef int pack_list(Encoder *e, PyObject *o) except -1:
    cdef Py_ssize_t count, i
    cdef PyObject *item
    if FC_SNAPSHOTS:
        held = tuple(<list>o)
        e.cost += FC_COST_LIST
        return pack_tuple_items(e, <PyObject *>held)
    count = list_size(o)
    e.cost += FC_COST_LIST
    go_down(e)
    check_count(<size_t>count)
    fc_pack_array_head(&e.out, <size_t>count)
    for i in range(count):
        if i >= list_size(o):
            return deny_changed()
        item = list_item(o, i)
        Py_INCREF(item)
        if (<packer>pack)(e, item) < 0:
            note(e, NULL, i, None)
            Py_DECREF(item)
            return -1
        Py_DECREF(item)
    if list_size(o) != count:
        return deny_changed()
    e.depth -= 1
    return 0


cdef int pack_tuple_items(Encoder *e, PyObject *o) except -1:
    cdef Py_ssize_t i
    go_down(e)
    check_count(<size_t>PyTuple_GET_SIZE(o))
    fc_pack_array_head(&e.out, <size_t>PyTuple_GET_SIZE(o))
    for i in range(PyTuple_GET_SIZE(o)):
        if (<packer>pack)(e, PyTuple_GET_ITEM(o, i)) < 0:
            return note(e, NULL, i, None)
    e.depth -= 1
    return 0


cdef int pack_tuple(Encoder *e, PyObject *o, int8_t code) except -1:
    cdef size_t start = fc_pack_open(&e.out)
    e.cost += FC_COST_LIST if code == FC_EXT_TUPLE else FC_COST_SET
    pack_tuple_items(e, o)
    return pack_close(e, start, code)


cdef int pack_set(Encoder *e, PyObject *o, int8_t code) except -1:
    cdef size_t objects
    e.stirred += 1
    try:
        held = tuple(<object>o)
    except RuntimeError:
        return deny_changed()
    objects = e.objects
    e.keyed += 1
    pack_tuple(e, <PyObject *>held, code)
    e.keyed -= 1
    return 0 if e.objects == objects else check_again(e, o, held)


cdef inline size_t mixed(size_t sum, PyObject *key) noexcept:
    return (sum ^ <size_t>key) * 31


cdef int pack_dict(Encoder *e, PyObject *o) except -1:
    cdef object held = None
    if FC_SNAPSHOTS:
        held = (<dict>o).copy()
        o = <PyObject *>held
    cdef Py_ssize_t count = PyDict_GET_SIZE(o), done = 0, at = 0
    cdef unsigned int stirred = e.stirred
    cdef size_t sum = 0, objects
    cdef bint asks = False
    cdef PyObject *key
    cdef PyObject *value
    cdef int result
    e.cost += FC_COST_DICT
    go_down(e)
    check_count(<size_t>count)
    fc_pack_map_head(&e.out, <size_t>count)
    while dict_next(o, &at, &key, &value):
        done += 1
        sum = mixed(sum, key)
        Py_INCREF(key)
        Py_INCREF(value)
        if PyUnicode_CheckExact(key):
            result = (<packer>pack_text)(e, key)
        else:
            objects = e.objects
            e.keyed += 1
            result = (<packer>pack)(e, key)
            e.keyed -= 1
            asks |= e.objects != objects
        if result < 0:
            note(e, NULL, 0, ".<key>")
        else:
            result = (<packer>pack)(e, value)
            if result < 0:
                note(e, key, 0, None)
        Py_DECREF(value)
        Py_DECREF(key)
        if result < 0:
            return -1
        if done > count:
            return deny_changed()
    if done != count or PyDict_GET_SIZE(o) != count:
        return deny_changed()
    if e.stirred != stirred:
        # Someone may have run; the keys must still be those, in that order.
        if not same_keys(o, sum):
            return deny_changed()
    if asks:
        check_again(e, o, list(<dict>o))
    e.depth -= 1
    return 0


cdef int check_again(Encoder *e, PyObject *o, held) except -1:
    """Refuse a set or dict that would not be equal, made again of its items or keys.

    Objects may have become equal, or hash otherwise, since they came in.
    """
    e.stirred += 1
    try:
        if PyDict_CheckExact(o):
            same = dict.fromkeys(held).keys() == (<dict>o).keys()
        else:
            same = set(held) == <object>o
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        return deny(f"has a key or item whose __hash__ or __eq__ raises {type_name(error)}: "
                      "use another key")
    if not same:
        return deny("has keys or items that were changed since they were put in, so that two are "
                    "equal, or one is not found: make it again")
    return 0


cdef bint same_keys(PyObject *o, size_t expected) noexcept:
    cdef Py_ssize_t at = 0
    cdef size_t sum = 0
    cdef PyObject *key
    cdef PyObject *value
    while dict_next(o, &at, &key, &value):
        sum = mixed(sum, key)
    return sum == expected


# ---- registered types ---------------------------------------------------------------------------

cdef int pack_registered(Encoder *e, PyObject *o, Registered r) except -1:
    cdef size_t start = fc_pack_open(&e.out)
    cdef dict state
    e.stirred += 1
    fc_pack_array_head(&e.out, 2)
    pack_text(e, <PyObject *>r.name)
    if r.members is not None:
        member = r.names.get(<size_t>o)
        if member is None:
            return deny(f"is no named member of {class_name(r.cls)}: "
                          "store its .value, or use serializer=Pickle(...)")
        pack_text(e, <PyObject *>member)
        return pack_close(e, start, FC_EXT_MEMBER)
    if r.by_identity and e.keyed:
        return deny(f"is a {class_name(r.cls)}, equal to nothing but itself, in a set or a key: "
                      "give the class an __eq__ and a __hash__ of its fields")
    e.objects += 1
    e.cost += FC_COST_OBJECT + FC_COST_DICT  # as it is read: by way of a dict
    state = fields_of(o, r)
    go_down(e)
    fc_pack_map_head(&e.out, <size_t>len(state))
    for name, value in state.items():
        pack_text(e, <PyObject *>name)
        if (<packer>pack)(e, <PyObject *>value) < 0:
            note(e, NULL, 0, "." + name)
            return -1
    e.depth -= 1
    return pack_close(e, start, FC_EXT_OBJECT)


cdef dict fields_of(PyObject *o, Registered r):
    """The fields that have a value, read from where they are: no property, no __getattribute__."""
    cdef dict state = {}
    cdef Py_ssize_t i, found = 0
    cdef PyObject *got
    cdef dict own = attributes_of(o, r) if r.has_dict else {}
    for i in range(len(r.fields)):
        name = r.fields[i]
        if r.slots[i] is not None:
            got = fc_slot_get(<PyObject *>r.slots[i], o)
            if got is not NULL:
                state[name] = fc_steal(got)
                continue
            PyErr_Clear()
        elif name in own:
            state[name] = own[name]
            found += 1
            continue
        if name not in r.given:
            deny(f"is a {class_name(r.cls)} whose field {name!r} has no value: set it")
    if found != len(own):
        extra = sorted(name for name in own if name not in state)
        deny(f"is a {class_name(r.cls)} with an attribute that is no field, {extra[0]!r}: "
               "remove it or make it a field, or use serializer=Pickle(...)")
    for slot in r.spare:
        got = fc_slot_get(<PyObject *>slot, o)
        if got is not NULL:
            Py_DECREF(got)
            deny(f"is a {class_name(r.cls)} with an attribute that is no field, "
                   f"{slot.__name__!r}: make it a field, or use serializer=Pickle(...)")
        PyErr_Clear()
    return state


cdef dict attributes_of(PyObject *o, Registered r):
    """A copy of an object's __dict__, which may be of any subclass: only a plain one is read."""
    cdef dict made
    got = PyObject_GenericGetDict(o, NULL)
    if not PyDict_CheckExact(<PyObject *>got):
        deny(f"is a {class_name(r.cls)} whose __dict__ is of type {type_name(got)}: "
               "give it a plain dict")
    made = (<dict>got).copy()
    for name in made:
        if not PyUnicode_CheckExact(<PyObject *>name):
            deny(f"is a {class_name(r.cls)} with an attribute whose name is no str but of type "
                   f"{type_name(name)}: remove it")
    return made


# ---- by type ------------------------------------------------------------------------------------

cdef int pack(Encoder *e, PyObject *o) except -1:
    if PyUnicode_CheckExact(o):
        return pack_text(e, o)
    if PyLong_CheckExact(o):
        return pack_int(e, o)
    if PyDict_CheckExact(o):
        return pack_dict(e, o)
    if o == Py_None:
        fc_pack_nil(&e.out)
        return 0
    if o == Py_True or o == Py_False:
        fc_pack_bool(&e.out, o == Py_True)
        return 0
    if PyFloat_CheckExact(o):
        fc_pack_double(&e.out, PyFloat_AS_DOUBLE(o))
        return 0
    if PyList_CheckExact(o):
        return pack_list(e, o)
    if PyTuple_CheckExact(o):
        return pack_tuple(e, o, FC_EXT_TUPLE)
    if PyDateTime_CheckExact(o):
        return pack_datetime(e, o)
    if fc_type_of(o) == decimal_type:
        return pack_decimal(e, o)
    if fc_type_of(o) == uuid_type:
        return pack_uuid(e, o)
    if PyBytes_CheckExact(o):
        return pack_bytes(e, o)
    return pack_rare(e, o)


cdef int pack_rare(Encoder *e, PyObject *o) except -1:
    cdef uint8_t *at
    if PyDate_CheckExact(o):
        return pack_date(e, o)
    if PyDelta_CheckExact(o):
        return pack_delta(e, o)
    if PyTime_CheckExact(o):
        return pack_time(e, o)
    if PySet_CheckExact(o):
        return pack_set(e, o, FC_EXT_SET)
    if PyFrozenSet_CheckExact(o):
        return pack_set(e, o, FC_EXT_FROZENSET)
    if PyByteArray_CheckExact(o):
        return pack_bytearray(e, o)
    if PyComplex_CheckExact(o):
        at = fc_pack_ext(&e.out, 16, FC_EXT_COMPLEX)
        if at is not NULL:
            fc_store_be(at, fc_bits_of(PyComplex_RealAsDouble(o)), 8)
            fc_store_be(at + 8, fc_bits_of(PyComplex_ImagAsDouble(o)), 8)
        return 0
    known = registered_types.get(<size_t>fc_type_of(o))
    if known is None:
        return deny_type(o)
    return pack_registered(e, o, <Registered>known)
