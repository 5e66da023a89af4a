"""Making memoized functions, and the slots of their types that Cython cannot declare."""

from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

cdef extern from "Python.h":
    PyObject *PyVectorcall_Call(PyObject *self, PyObject *args, PyObject *kwargs) noexcept


cdef int refuse(object function) except -1:
    if not callable(function):
        raise TypeError(f"memoize needs a callable, not {type(function).__name__}; "
                        f"options are passed by name")
    for face in (function, type(function).__call__):
        for kind, fits in (("a coroutine", iscoroutinefunction),
                           ("an asynchronous generator", isasyncgenfunction),
                           ("a generator", isgeneratorfunction)):
            if fits(face):
                raise TypeError(f"memoize cannot keep what {kind} function returns: it can be used "
                                f"only once")
    return 0


cdef str claim(MemoryCache cache, object function, object name, object maker, object ignore):
    """A prefix for the keys of a function that no other function of this cache has."""
    cdef dict taken
    if cache.prefixes is None:
        cache.prefixes = {}
    taken = cache.prefixes
    if None in taken:
        raise ConfigurationError(f"this cache belongs to {taken[None]}: make another one")
    try:
        held = ref(function)
    except TypeError:
        held = None
    mine = (held, function if held is None else None, maker, frozenset(
        [ignore] if isinstance(ignore, str) else ignore))
    if name is not None:
        owner = taken.setdefault(name, mine)
        same = owner[1] if owner[0] is None else owner[0]()
        if owner is not mine and owner[0] is not None and same is None:
            taken[name] = owner = mine  # that function is gone: defined again, in a reload say
            same = function
        if owner is not mine and (same is not function or owner[2:] != mine[2:]):
            raise ConfigurationError(f"the name {name!r} belongs to another function of this cache")
        return name
    base = full_name(function)
    while True:
        count = taken.get((base,), 0) + 1
        taken[(base,)] = count
        name = base if count == 1 else f"{base}#{count}"
        if taken.setdefault(name, mine) is mine:
            return name


cdef str full_name(object function):
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"


cdef object memoize_in(MemoryCache cache, object function, object ttl, object name, object key,
                       object ignore, bint shared):
    """A memoized function; `shared`: its keys are told from others by a prefix."""
    cdef Memoized made
    if isinstance(function, (classmethod, staticmethod)):
        made = memoize_in(cache, function.__func__, ttl, name, key, ignore, shared)
        around = _MemoizedClassMethod if isinstance(function, classmethod) else staticmethod
        return around(made)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a str, not {type(name).__name__}")
    name = None if name is None else str.__str__(name)
    refuse(function)
    span_of(cache, ttl)
    made = Memoized.__new__(Memoized)
    made.layout = lay_out(function, key, ignore)
    if shared:
        made.prefix = made.name = claim(cache, function, name, key, ignore)
        # Closures and lambdas share a name, and are told apart by their order only.
        made.local = name is None and ("<" in made.prefix or "#" in made.prefix)
    else:
        made.name = full_name(function) if name is None else name
        cache.prefixes = {None: made.name}
    made.held = cache
    made.c = cache.c
    made.function = function
    made.ttl = ttl
    made.call = call_any
    if (not shared and key is None and made.layout.named == made.layout.positional == 1
            and made.layout.parts == 1 and made.layout.rest is None
            and made.layout.others is None):
        made.call = call_one
    return update_wrapper(made, function)


@cython.embedsignature(False)  # the default is no literal
def memoize(fn=None, /, *, max_entries=128, max_size_bytes=None, policy="lru", ttl=None,
            idle=None, name=None, key=None, ignore=(), **weigher):
    """memoize(fn=None, /, *, max_entries=128, max_size_bytes=None, policy='lru', ttl=None,
    idle=None, sizeof=None, name=None, key=None, ignore=())

    Keep the results of a function in a cache of its own: `@memoize` or `@memoize(...)`.

    max_entries (None: only bytes are bounded), max_size_bytes, policy, ttl, idle, sizeof: as
    `MemoryCache` takes them; a result too heavy to keep is returned all the same.  name: what to call it.  key: a callable with
    the arguments of a call, which returns the key of its result.  ignore: a name, or several, of
    parameters that do not change the result.  One call per key is under way among all threads;
    what it raises reaches all who wait for it and is not kept.

    Arguments are told apart by value and type, in exact tuples and frozensets too.  `f(1, y=2)`,
    `f(1, 2)` and `f(x=1, y=2)` are one call.  An object (`self` of a method too) whose type defines
    `__frys_key__()` is known by what that returns; one whose type has a hash of its own by value;
    any other, classes and functions too, by identity: by a number that it is given when first
    seen, which no later object gets, so the cache does not keep it alive.  Only an object that
    cannot be referred to weakly is held by its key.

    Raises TypeError for what is not callable and for coroutine and generator functions,
    ConfigurationError for an option that cannot be.

    >>> @memoize
    ... def double(x):
    ...     return 2 * x
    >>> double(4), double(4), double.cache_info().hits
    (8, 8, 1)
    """
    weigher = {"sizeof": only_sizeof("memoize", weigher)}
    if fn is None:
        return partial(memoize, max_entries=max_entries, max_size_bytes=max_size_bytes,
                       policy=policy, ttl=ttl, idle=idle, name=name, key=key, ignore=ignore,
                       **weigher)
    cache = MemoryCache(max_entries, max_size_bytes=max_size_bytes, policy=policy, ttl=ttl,
                        idle=idle, **weigher)
    return memoize_in(cache, fn, DEFAULT, name, key, ignore, False)


cdef int clear_memoized(PyObject *self) noexcept:
    """Break cycles.  Cache and __dict__ stay: they break their own, and the cache is used here."""
    cdef Memoized m = <Memoized>self
    m.call = NULL
    m.layout = None
    m.function = None
    return 0


cdef patch_callable(type final, vectorcall *field, PyObject *example):
    cdef Type *callable = <Type *>final
    callable.tp_vectorcall_offset = <char *>field - <char *>example
    callable.tp_call = <void *>PyVectorcall_Call
    callable.tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL
    fc_set_slot(final.__dict__["__call__"], <void *>PyVectorcall_Call)
    PyType_Modified(callable)


cdef patch_callables():
    cdef Memoized function = Memoized.__new__(Memoized)
    cdef BoundMemoized method = BoundMemoized.__new__(BoundMemoized)
    patch_callable(Memoized, &function.call, <PyObject *>function)
    patch_callable(BoundMemoized, &method.call, <PyObject *>method)
    (<Type *>Memoized).tp_flags |= Py_TPFLAGS_METHOD_DESCRIPTOR
    (<Type *>Memoized).tp_clear = clear_memoized


patch_callables()
