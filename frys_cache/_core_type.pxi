"""What Cython cannot say of a type: visiting the entries, and slots without stack frames."""

ctypedef int (*traverse_slot)(PyObject *self, visitproc visit, void *arg) noexcept
ctypedef int (*clear_slot)(PyObject *self) noexcept
ctypedef PyObject *(*subscript)(PyObject *self, PyObject *key) noexcept
ctypedef int (*ass_subscript)(PyObject *self, PyObject *key, PyObject *value) noexcept
ctypedef PyObject *(*fastcall)(PyObject *self, PyObject **args, Py_ssize_t count,
                               PyObject *names) noexcept

cdef extern from *:
    """
    #define fc_method_of(descriptor) (((PyMethodDescrObject *)(descriptor))->d_method)
    #define fc_set_slot(descriptor, f) (((PyWrapperDescrObject *)(descriptor))->d_wrapped = (f))
    """
    ctypedef struct PyMethodDef:
        void *ml_meth
    ctypedef struct PyMappingMethods:
        void *mp_subscript
        void *mp_ass_subscript
    ctypedef struct Type "PyTypeObject":
        PyMappingMethods *tp_as_mapping
        unsigned long tp_flags
        traverse_slot tp_traverse
        clear_slot tp_clear
        Py_ssize_t tp_vectorcall_offset
        void *tp_call
    PyMethodDef *fc_method_of(object descriptor)
    void fc_set_slot(object descriptor, void *function)
    object PyDescr_NewMethod(Type *type, PyMethodDef *method)
    void PyType_Modified(Type *type)
    unsigned long Py_TPFLAGS_MAPPING, Py_TPFLAGS_HAVE_VECTORCALL, Py_TPFLAGS_METHOD_DESCRIPTOR

cdef extern from "fc_quick.h":
    PyObject *fc_item_quick(fc_cache *c, PyObject *self, PyObject *key,
                            subscript generated) noexcept
    PyObject *fc_get_quick(fc_cache *c, PyObject *self, PyObject **args, Py_ssize_t count,
                           fastcall generated) noexcept
    PyObject *fc_setdefault_quick(fc_cache *c, PyObject *self, PyObject **args, Py_ssize_t count,
                                  fastcall generated) noexcept

cdef Type *kind = <Type *>MemoryCache
cdef PyMethodDef *get_method = fc_method_of(MemoryCache.__dict__["get"])
cdef PyMethodDef *setdefault_method = fc_method_of(MemoryCache.__dict__["setdefault"])
cdef traverse_slot generated_traverse = kind.tp_traverse
cdef clear_slot generated_clear = kind.tp_clear
cdef subscript generated_item = <subscript>kind.tp_as_mapping.mp_subscript
cdef ass_subscript generated_assign = <ass_subscript>kind.tp_as_mapping.mp_ass_subscript
cdef fastcall generated_get = <fastcall>get_method.ml_meth
cdef fastcall generated_setdefault = <fastcall>setdefault_method.ml_meth


cdef int traverse(PyObject *self, visitproc visit, void *arg) noexcept:
    """Visit what Cython does not see: the entries."""
    cdef int stop = generated_traverse(self, visit, arg)
    if stop == 0 and (<MemoryCache>self).c is not NULL:
        stop = fc_visit((<MemoryCache>self).c, visit, arg)
    return stop


cdef int clear_cycles(PyObject *self) noexcept:
    fc_drop_all((<MemoryCache>self).c)
    return generated_clear(self)


# The calls that hot loops are made of, without the stack frames of generated code.

cdef PyObject *quick_item(PyObject *self, PyObject *key) noexcept:
    return fc_item_quick((<MemoryCache>self).c, self, key, generated_item)


cdef PyObject *quick_get(PyObject *self, PyObject **args, Py_ssize_t count,
                         PyObject *names) noexcept:
    if names is NULL and (count == 1 or count == 2):
        return fc_get_quick((<MemoryCache>self).c, self, args, count, generated_get)
    return generated_get(self, args, count, names)


cdef PyObject *quick_setdefault(PyObject *self, PyObject **args, Py_ssize_t count,
                                PyObject *names) noexcept:
    if names is NULL and (count == 1 or count == 2):
        return fc_setdefault_quick((<MemoryCache>self).c, self, args, count,
                                   generated_setdefault)
    return generated_setdefault(self, args, count, names)


cdef int quick_assign(PyObject *self, PyObject *key, PyObject *value) noexcept:
    cdef int done = 0
    if (<MemoryCache>self).watch == 0:
        done = (fc_assign_quick((<MemoryCache>self).c, key, value) if value is not NULL
                else fc_remove_quick((<MemoryCache>self).c, key))
    if done == 0:
        return generated_assign(self, key, value)
    return 0 if done == 1 else -1


def _rehome(type home, type final):
    """Give `home`, the base of `final`, a `get` and `setdefault` that belong to `final`.

    The interpreter calls a C method fast only if its type is exactly that of the object (10 of 28
    ns, from 3.11 on), so an inherited one is slow and an override in Python slower still.  Nothing
    is overridden here: they are the same C functions, found one step earlier than in MemoryCache.
    """
    if not issubclass(final, home) or not issubclass(home, MemoryCache):
        raise TypeError(f"{home.__name__} is no home for {final.__name__}")
    home.get = PyDescr_NewMethod(<Type *>final, get_method)
    home.setdefault = PyDescr_NewMethod(<Type *>final, setdefault_method)


cdef patch_type():
    kind.tp_traverse = traverse
    kind.tp_clear = clear_cycles
    kind.tp_flags |= Py_TPFLAGS_MAPPING  # for match statements
    kind.tp_as_mapping.mp_subscript = <void *>quick_item
    kind.tp_as_mapping.mp_ass_subscript = <void *>quick_assign
    get_method.ml_meth = <void *>quick_get
    setdefault_method.ml_meth = <void *>quick_setdefault
    # What subclasses inherit by.
    fc_set_slot(MemoryCache.__dict__["__getitem__"], <void *>quick_item)
    fc_set_slot(MemoryCache.__dict__["__setitem__"], <void *>quick_assign)
    fc_set_slot(MemoryCache.__dict__["__delitem__"], <void *>quick_assign)
    PyType_Modified(kind)


patch_type()
MutableMapping.register(MemoryCache)
