"""The key of a call: typed, free of collisions, and one for all spellings of the same call.

A part stands for one argument.  An exact str, bytes or int, and None, stand for themselves; all
else is a tuple that begins with a type, so no argument can pass for the part of another.  The parts
of a function have fixed places, so no call can pass for another either.

An object that is compared by identity is represented by an `Identity`, found by its address as
long as it lives: the key neither keeps it alive nor mistakes a later one at its address for it.
Not chosen: the address itself (used again after its owner), a WeakKeyDictionary (asks foreign
`__eq__`), a plain number (would mean another object once a pickled cache is loaded elsewhere).
"""

from inspect import Parameter, Signature
from weakref import ref

cdef extern from "Python.h":
    PyObject *PyLong_FromVoidPtr(void *p) except NULL
    PyObject *PyDict_GetItemWithError(PyObject *d, PyObject *key) except? NULL
    Py_ssize_t PyVectorcall_NARGS(size_t nargsf) noexcept
    Py_ssize_t PyTuple_GET_SIZE(PyObject *o) noexcept
    PyObject *PyTuple_GET_ITEM(PyObject *o, Py_ssize_t i) noexcept
    int PyUnicode_Compare(PyObject *a, PyObject *b) except? -1
    object PyUnicode_FromObject(object o)
    int Py_EnterRecursiveCall(const char *where) except -1
    void Py_LeaveRecursiveCall() noexcept

cdef extern from "math.h":
    double copysign(double x, double y) noexcept

cdef extern from "fc_memo.h":
    enum: FC_PARTS_MAX, FC_PARTS_DEPTH
    const uint64_t FC_PARTS_START
    ctypedef enum fc_rule: FC_BY_VALUE, FC_BY_IDENTITY, FC_UNHASHABLE
    uint64_t fc_parts_mix(uint64_t sum, Py_hash_t hash) noexcept
    Py_hash_t fc_parts_hash(uint64_t sum, Py_ssize_t count) noexcept
    bint fc_is_plain(PyObject *o) noexcept
    bint fc_part_hash(PyObject *o, Py_hash_t *hash, int depth) noexcept
    bint fc_refers(PyObject *ref, PyObject *o) noexcept
    fc_rule fc_rule_of(PyObject *o) noexcept

cdef object NO_DEFAULT = Parameter.empty
cdef dict identities = {}  # address -> Identity, while the object there lives
cdef unsigned long long identities_made = 0
cdef Identity latest = None  # of the object asked for last: methods ask for the same one again

# A CPython that hashes tuples in another way would find nothing by parts: then do not look.
cdef bint parts_work = sizeof(Py_hash_t) == 8 and hash(("a", 1)) == fc_parts_hash(
    fc_parts_mix(fc_parts_mix(FC_PARTS_START, hash("a")), 1), 2)


class _Unhashable(TypeError):
    """Whatever an argument is or holds has no hash; its one argument is that object's type."""


# ---- objects that are compared by identity ------------------------------------------------------

@cython.final
cdef class Identity:
    """Stands in keys for an object that is compared by identity, and equals only itself."""

    cdef Py_hash_t number
    cdef object address  # as long as the object lives
    cdef object ref      # to the object, weakly

    def __hash__(self):
        return self.number

    def __repr__(self):
        return f"<object {self.number}>"

    def __call__(self, ref):
        """The object has died."""
        if identities.get(self.address) is self:
            del identities[self.address]
        self.ref = None

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return _no_identity, ()


def _no_identity():
    """What an Identity becomes in another process: one of no object there."""
    return new_identity()


cdef Identity new_identity():
    global identities_made
    cdef Identity made = Identity.__new__(Identity)
    identities_made += 1
    made.number = <Py_hash_t>identities_made
    return made


cdef PyObject *identity_of(PyObject *o) except NULL:
    """The Identity of a living object, borrowed from the table."""
    global latest
    if latest is not None and latest.ref is not None and fc_refers(<PyObject *>latest.ref, o):
        return <PyObject *>latest
    cdef object address = fc_steal(PyLong_FromVoidPtr(<void *>o))
    cdef PyObject *found = PyDict_GetItemWithError(<PyObject *>identities, <PyObject *>address)
    cdef Identity made
    if found is not NULL and fc_refers(<PyObject *>(<Identity>found).ref, o):
        latest = <Identity>found
        return found
    made = new_identity()
    made.address = address
    made.ref = ref(<object>o, made)
    # An allocation may have let another thread in.
    found = PyDict_GetItemWithError(<PyObject *>identities, <PyObject *>address)
    if found is not NULL and fc_refers(<PyObject *>(<Identity>found).ref, o):
        made.ref = None
        return found
    identities[address] = made
    return <PyObject *>made


# ---- parts --------------------------------------------------------------------------------------

cdef PyObject *known_by(PyObject *o) except? NULL:
    """The Identity of an object, borrowed, if it is compared by identity; else NULL."""
    if fc_rule_of(o) != FC_BY_IDENTITY or _PyType_Lookup(Py_TYPE(<object>o), "__frys_key__"):
        return NULL
    return identity_of(o)


cdef PyObject *ready_part(PyObject *o, Py_hash_t *hash) except? NULL:
    """What fc_parts_get can find the part of an object by, borrowed, and its hash; or NULL."""
    if fc_part_hash(o, hash, FC_PARTS_DEPTH):
        return o
    o = known_by(o)
    if o is not NULL:
        hash[0] = (<Identity>o).number
    return o


cdef object own_key(object o, object kind, object found):
    """What the `__frys_key__` of an object returns."""
    if not hasattr(type(found), "__get__"):
        raise TypeError(f"{kind.__name__}.__frys_key__ must be a method that returns a key, "
                        f"not {type(found).__name__}")
    return type(found).__get__(found, o, kind)()


cdef object part_of(object o):
    """The part of any object; `_Unhashable` if its type has no hash."""
    cdef PyObject *found
    if fc_is_plain(<PyObject *>o) or o is None:
        return o
    found = known_by(<PyObject *>o)
    if found is not NULL:
        return <object>found
    cdef object kind = type(o)
    if kind is float:
        return (float, "-0.0" if o == 0 and copysign(1.0, o) < 0 else o)
    found = _PyType_Lookup(Py_TYPE(o), "__frys_key__")
    if kind is tuple or kind is frozenset or kind is complex or found is not NULL:
        Py_EnterRecursiveCall(b" while making a key")
        try:
            if kind is tuple:
                return (tuple, *[part_of(item) for item in <tuple>o])
            if kind is frozenset:
                return (frozenset, frozenset([part_of(item) for item in <frozenset>o]))
            if kind is complex:
                return (complex, part_of(o.real), part_of(o.imag))
            return (kind, part_of(own_key(o, kind, <object>found)))
        finally:
            Py_LeaveRecursiveCall()
    if fc_rule_of(<PyObject *>o) == FC_UNHASHABLE:
        raise _Unhashable(kind)
    return (kind, o)


# ---- binding ------------------------------------------------------------------------------------

@cython.final
@cython.no_gc_clear  # a call may be under way; its owner breaks cycles
cdef class Layout:
    """Where the arguments of a call go in its key."""

    cdef object signature             # of the function, or None
    cdef object maker                 # key=, or None
    cdef tuple names                  # of the parameters that take one argument each
    cdef tuple defaults               # theirs, or NO_DEFAULT
    cdef bytes kept                   # for each: whether it is in the key
    cdef Py_ssize_t named, positional, nameless, parts
    cdef object rest, others          # the names of *args and **kwargs, or None
    cdef bint keep_rest, keep_others

    cdef Py_ssize_t find(self, PyObject *name) except? -1:
        """Which parameter a keyword names; -1: none."""
        cdef Py_ssize_t i
        for i in range(self.nameless, self.named):
            if PyTuple_GET_ITEM(<PyObject *>self.names, i) is name:
                return i
        for i in range(self.nameless, self.named):
            if PyUnicode_Compare(PyTuple_GET_ITEM(<PyObject *>self.names, i), name) == 0:
                return i
        return -1

    cdef bint bind(self, PyObject **args, Py_ssize_t count, PyObject *names,
                   PyObject **values) except -1:
        """Give each parameter its argument, borrowed; False: the call is none of this function."""
        cdef Py_ssize_t i, at
        cdef PyObject *default
        if count > self.positional and self.rest is None:
            return False
        for i in range(self.named):
            values[i] = args[i] if i < count and i < self.positional else NULL
        if names is not NULL:
            for i in range(PyTuple_GET_SIZE(names)):
                at = self.find(PyTuple_GET_ITEM(names, i))
                if at >= 0:
                    if values[at] is not NULL:
                        return False
                    values[at] = args[count + i]
                elif self.others is None:
                    return False
        for i in range(self.named):
            if values[i] is NULL:
                default = PyTuple_GET_ITEM(<PyObject *>self.defaults, i)
                if default is <PyObject *>NO_DEFAULT:
                    return False
                values[i] = default
        return True

    cdef list arguments(self, PyObject **args, Py_ssize_t count, PyObject *names,
                        PyObject **values):
        """What of a bound call is in the key, as (label, argument, where it goes)."""
        cdef Py_ssize_t i
        cdef list found = [(self.names[i], <object>values[i], None) for i in range(self.named)
                           if self.kept[i]]
        if self.keep_rest:
            found += [(f"*{self.rest}", <object>args[i], self.rest)
                      for i in range(self.positional, count)]
        if self.keep_others and names is not NULL:
            others = [(PyUnicode_FromObject(<object>PyTuple_GET_ITEM(names, i)),
                       <object>args[count + i], self.others)
                      for i in range(PyTuple_GET_SIZE(names))
                      if self.find(PyTuple_GET_ITEM(names, i)) < 0]
            others.sort(key=first)
            found += others
        return found

    cdef object key(self, object prefix, PyObject **args, Py_ssize_t count, PyObject *names,
                    PyObject **values):
        """The key of a bound call; `prefix` is None in a cache of the function's own."""
        cdef Py_ssize_t i
        cdef list parts = [] if prefix is None else [prefix]
        cdef list rest = [], others = []
        try:
            if not self.keep_rest and not self.keep_others:
                for i in range(self.named):
                    if self.kept[i]:
                        parts.append(part_of(<object>values[i]))
            else:
                for label, value, where in self.arguments(args, count, names, values):
                    part = part_of(value)
                    if where is None:
                        parts.append(part)
                    elif where is self.rest:
                        rest.append(part)
                    else:
                        others.append((label, part))
                if self.keep_rest:
                    parts.append(tuple(rest))
                if self.keep_others:
                    parts.append(tuple(others))
        except _Unhashable as error:
            raise complaint(self.unhashable(args, count, names, values), error.args[0]) from None
        if prefix is None and self.parts == 1 and not self.keep_rest and not self.keep_others:
            return parts[0]
        return tuple(parts)

    cdef tuple unhashable(self, PyObject **args, Py_ssize_t count, PyObject *names,
                          PyObject **values):
        """(label, argument) of the first without a hash, or None: hashing one is foreign code."""
        for label, value, _ in self.arguments(args, count, names, values):
            try:
                hash(part_of(value))
            except TypeError:
                return label, value
        return None


def first(pair):
    return pair[0]


cdef object complaint(tuple found, object kind):
    """The TypeError for a (label, argument) that can be in no key for the sake of a type."""
    cdef str what = "an argument"
    if found is not None:
        what = f"argument {found[0]!r} of type {type(found[1]).__name__}"
        if type(found[1]) is not kind:
            what += f" holds one of type {kind.__name__}, which"
    return TypeError(f"{what} is not hashable: leave it out of the key with ignore=, make the key "
                     f"with key=, or give its type a __frys_key__()")


cdef Layout lay_out(object function, object maker, object ignore):
    """Read the signature once; ConfigurationError for names in `ignore` that it does not have."""
    cdef Layout l = Layout.__new__(Layout)
    cdef list names = [], defaults = [], kept = []
    if maker is not None and not callable(maker):
        raise TypeError(f"key must be callable, not {type(maker).__name__}")
    ignored = {ignore} if isinstance(ignore, str) else set(ignore)
    try:
        # Of the function itself: what it wraps may have other names and defaults.
        l.signature = Signature.from_callable(function, follow_wrapped=False)
        parameters = list(l.signature.parameters.values())
    except (TypeError, ValueError):
        parameters = None
    known = [] if parameters is None else [parameter.name for parameter in parameters]
    unknown = [name for name in ignored if name not in known]
    if unknown:
        raise ConfigurationError(
            f"ignore names no parameter: {', '.join(sorted(map(repr, unknown)))}; "
            f"the parameters are {', '.join(known) or 'not known'}")
    if ignored and maker is not None:
        raise ConfigurationError("pass key or ignore, not both: key makes the whole key")
    l.maker = maker
    for parameter in parameters or ():
        keep = parameter.name not in ignored
        if parameter.kind is Parameter.VAR_POSITIONAL:
            l.rest, l.keep_rest = parameter.name, keep
        elif parameter.kind is Parameter.VAR_KEYWORD:
            l.others, l.keep_others = parameter.name, keep
        else:
            l.nameless += parameter.kind is Parameter.POSITIONAL_ONLY
            l.positional += parameter.kind is not Parameter.KEYWORD_ONLY
            names.append(parameter.name)
            defaults.append(parameter.default)
            kept.append(keep)
    if parameters is None:
        l.rest, l.others, l.keep_rest, l.keep_others = "args", "kwargs", True, True
    l.names, l.defaults, l.kept = tuple(names), tuple(defaults), bytes(kept)
    l.named, l.parts = len(names), sum(kept)
    return l
