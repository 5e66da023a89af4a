"""Why a value cannot be stored: which part of it, and what to do.

A walk keeps no path.  When a part is refused, each container on the way out adds where it was; so
the path costs nothing until it is needed.  No code of the user runs to make it.
"""

cdef int deny(str why) except -1:
    raise SerializationError(why)


cdef str key_words(PyObject *key):
    """A key within a path, without running the user's __repr__."""
    if PyUnicode_CheckExact(key):
        return f"[{(<object>key)[:40]!r}]"
    if PyBytes_CheckExact(key):
        return f"[{(<object>key)[:40]!r}]"
    if PyLong_CheckExact(key) and (<object>key).bit_length() < 128:
        return f"[{<object>key}]"
    return f"[<{type_name(<object>key)}>]"


cdef str type_name(o):
    return class_name(type(o))


cdef str class_name(cls):
    """The name of a class, without asking its metaclass; it may be of a subclass of str."""
    return PyUnicode_FromObject(type.__dict__["__qualname__"].__get__(cls))


cdef int note(Encoder *e, PyObject *key, Py_ssize_t at, str words) noexcept:
    """Add a step to the path of what was refused: a key, a place, or words.  Returns -1."""
    cdef PyObject *cls
    cdef PyObject *error
    cdef PyObject *trace
    PyErr_Fetch(&cls, &error, &trace)
    try:
        if e.path is NULL:
            steps = []
            Py_INCREF(<PyObject *>steps)
            e.path = <PyObject *>steps
        if words is None:
            words = f"[{at}]" if key is NULL else key_words(key)
        (<list>e.path).append(words)
    except BaseException:  # noqa: a path is help, no more
        pass
    PyErr_Restore(cls, error, trace)
    return -1


cdef int explain(Encoder *e) except -1:
    """Raise the pending exception again, a refusal with its path."""
    cdef PyObject *cls
    cdef PyObject *error
    cdef PyObject *trace
    cdef list steps = []
    PyErr_Fetch(&cls, &error, &trace)
    if e.path is not NULL:
        steps = fc_steal(e.path)
        e.path = NULL
    PyErr_Restore(cls, error, trace)
    try:
        raise_pending()
    except SerializationError as refusal:
        steps.reverse()
        if len(steps) > 12:
            steps[8:len(steps) - 2] = ["..."]
        why = str(refusal)
    raise SerializationError(f"value{''.join(steps)} {why}")


cdef int raise_pending() except -1:
    return -1


cdef str what_to_do(cls, str words):
    """Which way out there is for a value of this class."""
    known = type.__dict__["__dict__"].__get__(cls)
    if ("__dataclass_fields__" in known or "_member_map_" in known
            or "__struct_fields__" in type.__dict__["__dict__"].__get__(type(cls))):
        return (f"call register_type({words}, name=...) where it is defined, "
                "or use serializer=Pickle(...)")
    return ("store a plain type, or a dataclass that register_type() was told of, "
            "or use serializer=Pickle(...)")


cdef int deny_type(PyObject *o) except -1:
    cls = type(<object>o)
    name = type_name(<object>o)
    words = name
    for base in type.__dict__["__mro__"].__get__(cls)[1:]:
        if is_plain(base):
            words += f", a subclass of {class_name(base)} that is not registered"
            break
    return deny(f"is of type {words}, and would not come back as it was: {what_to_do(cls, name)}")


cdef bint is_plain(cls):
    for plain in PLAIN_TYPES:
        if plain is cls:  # `in` would ask a metaclass
            return True
    return False


cdef tuple PLAIN_TYPES = (dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float,
                          complex, Decimal, UUID)


cdef int go_down(Encoder *e) except -1:
    e.depth += 1
    if e.depth > DEEPEST:
        return deny(f"is nested deeper than {DEEPEST} levels, or contains itself: "
                      "flatten it, or use serializer=Pickle(...)")
    return 0


cdef int deny_changed() except -1:
    return deny("was changed by another thread while it was encoded: store a copy")


cdef int check_count(size_t count) except -1:
    if count > 0xffffffff:
        return deny(f"has a length of {count}, more than the {0xffffffff} of msgpack: "
                      "store it in parts")
    return 0
