/* fc_weigh.h - the bytes of data in the commonest objects, without running any Python code. */
#ifndef FC_WEIGH_H
#define FC_WEIGH_H

#include "fc_change.h"

/* The payload of an exact bytes, str or bytearray; -1 for any other object. */
FC_INLINE int64_t
fc_payload(PyObject *o)
{
    if (PyBytes_CheckExact(o)) {
        return PyBytes_GET_SIZE(o);
    }
    if (PyUnicode_CheckExact(o)) {
        return PyUnicode_GET_LENGTH(o) * (Py_ssize_t)PyUnicode_KIND(o);
    }
    return PyByteArray_CheckExact(o) ? PyByteArray_GET_SIZE(o) : -1;
}

/* The weight of an entry of two such objects, else -1. */
FC_INLINE int64_t
fc_weight_known(PyObject *key, PyObject *value)
{
    int64_t of_key = fc_payload(key), of_value = fc_payload(value);
    return of_key < 0 || of_value < 0 ? -1 : of_key + of_value;
}

#endif
