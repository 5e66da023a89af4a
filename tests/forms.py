"""What makes two values the same: equal, of the same types, at every depth, bit by bit."""

import dataclasses
import struct
from datetime import UTC, date, datetime, time, timezone
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo


def form(value):
    """Return something hashable that is equal for two values only if they are the same."""
    kind = type(value)
    return kind, _PARTS.get(kind, _other)(value)


def _items(value):
    return tuple(map(form, value))


def _unordered(value):
    forms = sorted(map(form, value), key=repr)  # NaNs may be there twice
    return tuple(forms)


def _zone(zone):
    if type(zone) is timezone:
        return (timezone, zone is UTC, *map(form, zone.__getinitargs__()))
    return zone


def _moment(value):
    return repr(value.replace(tzinfo=None)), value.fold, _zone(value.tzinfo)


def _other(value):
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return tuple(form(getattr(value, name)) for name in names), repr(vars(value))
    return value


_PARTS = {
    float: lambda value: struct.pack(">d", value),
    complex: lambda value: struct.pack(">dd", value.real, value.imag),
    str: lambda value: value.encode(errors="surrogatepass"),
    bytearray: bytes,
    Decimal: lambda value: value.as_tuple(),
    UUID: lambda value: (value.int, value.is_safe),
    list: _items,
    tuple: _items,
    set: _unordered,
    frozenset: _unordered,
    dict: lambda value: tuple((form(key), form(item)) for key, item in value.items()),
    date: repr,
    time: _moment,
    datetime: _moment,
    ZoneInfo: lambda value: value.key,
}
