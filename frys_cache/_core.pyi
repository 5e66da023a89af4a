# The whole extension for type checkers; long because the extension is one module.

from collections.abc import (
    Callable,
    Hashable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from datetime import timedelta
from inspect import Signature
from os import PathLike
from types import GenericAlias, MemberDescriptorType
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    Never,
    ParamSpec,
    Protocol,
    Self,
    SupportsIndex,
    TypeVar,
    final,
    overload,
    type_check_only,
)

from typing_extensions import disjoint_base

from frys_cache.flight import Flights
from frys_cache.types import (
    CacheInfo,
    CacheStats,
    Clock,
    Default,
    EvictionCause,
    Policy,
    TtlRule,
)

__all__ = [
    "HOOK_DECIDE",
    "HOOK_EVICT",
    "HOOK_MISS",
    "HOOK_REMOVE",
    "HOOK_WRITE",
    "POLICIES",
    "MemoryCache",
    "PolicyManager",
    "memoize",
]

_K = TypeVar("_K")
_V = TypeVar("_V")
_T = TypeVar("_T")
_R = TypeVar("_R")
_S = TypeVar("_S")
_P = ParamSpec("_P")
_Q = ParamSpec("_Q")

HOOK_MISS: Final[int]
HOOK_WRITE: Final[int]
HOOK_REMOVE: Final[int]
HOOK_EVICT: Final[int]
HOOK_DECIDE: Final[int]
POLICIES: Final[tuple[str, ...]]

SIMULATED: Final[tuple[str, ...]]

def _fix_seeds(number: int) -> None: ...
def pack_head(
    flags: int, code: int, version: int, expires_ms: int, extensions: bytes = b""
) -> bytes: ...

@final
class KeyEncoder:
    def __new__(
        cls, prefix: bytes, max_size: int, encode: Callable[[object, int], bytes]
    ) -> Self: ...
    def key(self, key: object) -> bytes: ...

def read_head(record: bytes) -> tuple[int, int, int, int, int]: ...
def read_ends(record: bytes) -> tuple[int, int, int, int]: ...
def is_stale(record: bytes, now_ms: int) -> bool: ...
def _payload(value: object) -> int: ...
def unpack_run(
    records: list[bytes | None],
    dictionary: int,
    max_size: int,
    frame_size: Callable[[bytes], int],
    decompress: Callable[..., bytes],
) -> list[Any]: ...
def split_record(
    record: bytes,
) -> tuple[int, int, int, int, int, Any, int, int]: ...

LOGGED: Final[int]

@final
class Op:
    code: Any
    key: Any
    version: int
    expires_ms: int
    record: bytes
    value: Any
    is_delete: bool
    size: int
    since: float
    due: float
    attempts: int
    failed_at: int
    state: int
    def __init__(
        self,
        code: Any,
        key: Any,
        version: int,
        expires_ms: int,
        record: bytes,
        value: Any,
        is_delete: bool,
        size: int,
        since: float,
    ) -> None: ...

@disjoint_base
class Intake:
    ops: dict[Any, Op]
    dead: dict[Any, Any]
    lock: Any
    queue: Any
    stripe: Any
    steady: Any
    size: int
    max_entries: int
    max_bytes: int
    ring_entries: int
    ring_bytes: int
    closing: bool
    buries: bool
    def find(self, code: Any) -> Op | None: ...
    def take(
        self,
        code: bytes,
        key: Any,
        record: bytes,
        version: int,
        expires_ms: int,
        tier: Any,
        held: bytes | str | None = None,
    ) -> Op | bool: ...

def _check_ttl(ttl: object) -> None: ...
def _rehome(home: type[Any], final: type[Any]) -> None: ...

class CacheKeys(KeysView[_K]):
    def __reversed__(self) -> Iterator[_K]: ...

class CacheValues(ValuesView[_V]):
    def __reversed__(self) -> Iterator[_V]: ...

class CacheItems(ItemsView[_K, _V]):
    def __reversed__(self) -> Iterator[tuple[_K, _V]]: ...

@disjoint_base
class MemoryCache(MutableMapping[_K, _V]):
    _default_policy: ClassVar[str]
    def __init__(
        self,
        max_entries: int | None = None,
        *,
        max_size_bytes: int | None = None,
        policy: str | Policy = "lru",
        ttl: float | timedelta | None = None,
        idle: float | timedelta | None = None,
        sizeof: Callable[[_K, _V], int] | None = None,
        on_evict: Callable[[_K, _V, EvictionCause], object] | None = None,
        clock: Clock | None = None,
    ) -> None: ...
    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    @property
    def maxsize(self) -> int: ...
    @property
    def currsize(self) -> int: ...
    @property
    def policy(self) -> str: ...
    @property
    def policies(self) -> PolicyManager: ...
    @property
    def _hooks(self) -> int: ...
    @_hooks.setter
    def _hooks(self, hooks: int) -> None: ...
    def __getitem__(self, key: _K, /) -> _V: ...
    def __setitem__(self, key: _K, value: _V, /) -> None: ...
    def __delitem__(self, key: _K, /) -> None: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_K]: ...
    def __reversed__(self) -> Iterator[_K]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __or__(self, other: Mapping[_K, _V], /) -> Self: ...
    def __ror__(self, other: Mapping[_K, _V], /) -> Self: ...
    def __ior__(self, other: Mapping[_K, _V] | Iterable[tuple[_K, _V]], /) -> Self: ...
    def keys(self) -> CacheKeys[_K]: ...
    def values(self) -> CacheValues[_V]: ...
    def items(self) -> CacheItems[_K, _V]: ...
    @overload
    def get(self, key: _K, default: None = None) -> _V | None: ...
    @overload
    def get(self, key: _K, default: _V | _T) -> _V | _T: ...
    @overload
    def peek(self, key: _K, default: None = None) -> _V | None: ...
    @overload
    def peek(self, key: _K, default: _V | _T) -> _V | _T: ...
    @overload
    def get_many(self, keys: Iterable[_K], default: None = None) -> list[_V | None]: ...
    @overload
    def get_many(self, keys: Iterable[_K], default: _T) -> list[_V | _T]: ...
    def put(
        self,
        key: _K,
        value: _V,
        *,
        ttl: float | timedelta | Default | None = ...,
        cost: float = 1.0,
        version: int | None = None,
    ) -> None: ...
    def set(
        self,
        key: _K,
        value: _V,
        *,
        ttl: float | timedelta | Default | None = ...,
        cost: float = 1.0,
        version: int | None = None,
    ) -> None: ...
    def begin(self, key: _K) -> int: ...
    def add(
        self,
        key: _K,
        value: _V,
        *,
        ttl: float | timedelta | Default | None = ...,
        cost: float = 1.0,
    ) -> bool: ...
    def replace(
        self,
        key: _K,
        value: _V,
        *,
        ttl: float | timedelta | Default | None = ...,
        cost: float = 1.0,
    ) -> bool: ...
    def touch(self, key: _K, ttl: float | timedelta | Default | None = ...) -> bool: ...
    def ttl_of(self, key: _K) -> float | None: ...
    def incr(self, key: _K, delta: int = 1) -> int: ...
    def delete(self, key: _K) -> bool: ...
    def delete_many(self, keys: Iterable[_K], /) -> int: ...
    def put_many(
        self,
        items: Mapping[_K, _V] | Iterable[tuple[_K, _V]],
        /,
        *,
        ttl: float | timedelta | Default | None = ...,
    ) -> None: ...
    @overload
    def pop(self, key: _K) -> _V: ...
    @overload
    def pop(self, key: _K, default: _V | _T) -> _V | _T: ...
    def popitem(self) -> tuple[_K, _V]: ...
    def setdefault(self, key: _K, default: _V = ...) -> _V: ...
    def get_or_set(
        self,
        key: _K,
        factory: Callable[[], _V],
        *,
        ttl: float | timedelta | Default | None = ...,
        stale: float | timedelta | None = None,
        timeout: float | timedelta | None = None,
    ) -> _V: ...
    @overload
    def memoize(
        self,
        fn: classmethod[_S, _P, _R],
        /,
        *,
        ttl: float | timedelta | Default | None = ...,
        name: str | None = None,
        key: Callable[..., Hashable] | None = None,
        ignore: str | Iterable[str] = (),
    ) -> classmethod[_S, _P, _R]: ...
    @overload
    def memoize(  # type: ignore[overload-overlap]
        self,
        fn: staticmethod[_P, _R],
        /,
        *,
        ttl: float | timedelta | Default | None = ...,
        name: str | None = None,
        key: Callable[..., Hashable] | None = None,
        ignore: str | Iterable[str] = (),
    ) -> staticmethod[_P, _R]: ...
    @overload
    def memoize(
        self,
        fn: Callable[_P, _R],
        /,
        *,
        ttl: float | timedelta | Default | None = ...,
        name: str | None = None,
        key: Callable[..., Hashable] | None = None,
        ignore: str | Iterable[str] = (),
    ) -> Memoized[_P, _R]: ...
    @overload
    def memoize(
        self,
        fn: None = None,
        /,
        *,
        ttl: float | timedelta | Default | None = ...,
        name: str | None = None,
        key: Callable[..., Hashable] | None = None,
        ignore: str | Iterable[str] = (),
    ) -> _Memoize: ...
    def clear(self) -> None: ...
    def copy(self) -> Self: ...
    def __copy__(self) -> Self: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __getstate__(self) -> tuple[Any, ...]: ...
    def __setstate__(self, state: Any) -> None: ...
    @classmethod
    def fromkeys(cls, keys: Iterable[_K], value: Any = None, **options: Any) -> Self: ...
    def stats(self) -> CacheStats: ...
    def cache_info(self) -> CacheInfo: ...
    def record(self, path: str | bytes | PathLike[str] | PathLike[bytes]) -> Recording: ...
    def _token(self, key: _K) -> int: ...
    def _fill(
        self, key: _K, value: _V, deadline: float | None, version: None, token: int
    ) -> bool: ...
    def _refill(self, key: _K, value: _V, deadline: float | None, token: int) -> bool: ...
    def _keep(self, key: _K, value: _V, life: float | None, cost: float, token: int) -> None: ...
    def _begin_writing(self, key: _K) -> int: ...
    def _is_writing(self, key: _K) -> bool: ...
    def _end_writing(self, place: SupportsIndex) -> None: ...
    def _swap(self, key: _K, old: object, value: _V, life: float | None) -> bool: ...
    def _forget(self, key: _K) -> Any: ...
    def _empty(self) -> None: ...
    def _touch(self, key: _K, life: float | None) -> bool: ...
    def _life(self, key: _K, ttl: float | timedelta | Default | None) -> float | None: ...
    def _left(self, key: _K) -> float | None: ...
    def _get_or_set(
        self, key: _K, factory: Callable[[], _V], ttl: Any, stale: Any, timeout: Any
    ) -> _V: ...
    @property
    def _flights(self) -> Flights: ...
    @property
    def _descent(self) -> Descent | None: ...
    @_descent.setter
    def _descent(self, descent: Descent | None) -> None: ...
    @property
    def _deposit(self) -> Deposit | None: ...
    @_deposit.setter
    def _deposit(self, deposit: Deposit | None) -> None: ...
    @property
    def _below(self) -> Any: ...
    @_below.setter
    def _below(self, below: Any) -> None: ...
    def _check(self) -> None: ...
    def _fail_allocation_after(self, count: SupportsIndex) -> None: ...

@final
class Descent:
    def __init__(
        self,
        levels: tuple[Any, ...],
        changing: dict[Any, int],
        encode: Callable[[Any], Any],
        wall: Callable[[], int],
        failed: Callable[[Any, bytes, Exception], object],
        hand_up: Callable[[Any, bytes, Any, bytes], object],
        seen: Callable[[Any, Any, bytes, Any], Any],
        strict: bool,
    ) -> None: ...

@final
class Deposit:
    on: bool
    def __init__(
        self,
        intake: Intake,
        encode: Callable[[Any], bytes],
        max_size: SupportsIndex,
        draw: Callable[[], int],
        wall: Callable[[], int],
        log: Any,
        forget: Callable[[Any], object] | None,
        rest: Callable[[Any], bool],
        failed: Callable[[Exception], object],
    ) -> None: ...

def report(error: BaseException, who: object) -> None: ...

@final
class Recording:
    def __new__(cls, cache: MemoryCache[Any, Any], path: Any) -> Self: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None: ...
    @property
    def requests(self) -> int: ...

@final
class _Trace:
    def __init__(
        self, keys: Iterable[Hashable], sizes: Iterable[int] | None, numbered: bool
    ) -> None: ...
    def __len__(self) -> int: ...
    def unique_keys(self) -> int: ...
    def total_size(self) -> int | None: ...
    def run(
        self,
        policy: str,
        max_entries: int | None,
        max_size_bytes: int | None,
        seed: int,
        progress: Callable[[int], object] | None,
    ) -> tuple[int, int, int]: ...
    def lru_hits(self, sizes: list[int], progress: Callable[[int], object] | None) -> list[int]: ...

@final
class PolicyManager:
    def __init__(self, /, *args: Never, **kwargs: Never) -> None: ...
    @property
    def max_entries(self) -> int | None: ...
    @max_entries.setter
    def max_entries(self, value: int | None) -> None: ...
    @property
    def max_size_bytes(self) -> int | None: ...
    @max_size_bytes.setter
    def max_size_bytes(self, value: int | None) -> None: ...
    @property
    def ttl(self) -> float | timedelta | None: ...
    @ttl.setter
    def ttl(self, value: float | timedelta | None) -> None: ...
    @property
    def idle(self) -> float | timedelta | None: ...
    @property
    def policy(self) -> str: ...
    @property
    def rules(self) -> tuple[TtlRule, ...]: ...
    def set_ttl(
        self, keys: str | bytes | Callable[[Any], object], ttl: float | timedelta | None
    ) -> None: ...
    def remove(self, keys: str | bytes | Callable[[Any], object]) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@type_check_only
class _Memoize(Protocol):
    @overload
    def __call__(self, fn: classmethod[_S, _P, _R], /) -> classmethod[_S, _P, _R]: ...
    @overload
    def __call__(self, fn: staticmethod[_P, _R], /) -> staticmethod[_P, _R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[_P, _R], /) -> Memoized[_P, _R]: ...

@final
class Memoized(Generic[_P, _R]):
    __wrapped__: Callable[_P, _R]
    __name__: str
    __qualname__: str
    def __init__(self, /, *args: Never, **kwargs: Never) -> None: ...
    def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    @overload
    def __get__(self, instance: None, owner: Any = None, /) -> Self: ...
    @overload
    def __get__(
        self: Memoized[Concatenate[_S, _Q], _R], instance: _S, owner: Any = None, /
    ) -> BoundMemoized[_Q, _R]: ...
    @property
    def cache(self) -> MemoryCache[Any, _R]: ...
    def cache_key(self, /, *args: _P.args, **kwargs: _P.kwargs) -> Hashable: ...
    def cache_info(self) -> CacheInfo: ...
    def cache_parameters(self) -> dict[str, Any]: ...
    def cache_clear(self) -> None: ...
    def invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def refresh(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def __reduce__(self) -> str: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any) -> Self: ...
    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...

@final
class BoundMemoized(Generic[_P, _R]):
    __wrapped__: Callable[..., _R]
    __name__: str
    __qualname__: str
    def __init__(self, /, *args: Never, **kwargs: Never) -> None: ...
    @property
    def __func__(self) -> Memoized[..., _R]: ...
    @property
    def __self__(self) -> Any: ...
    @property
    def __signature__(self) -> Signature: ...
    def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    @property
    def cache(self) -> MemoryCache[Any, _R]: ...
    def cache_key(self, /, *args: _P.args, **kwargs: _P.kwargs) -> Hashable: ...
    def cache_info(self) -> CacheInfo: ...
    def cache_parameters(self) -> dict[str, Any]: ...
    def cache_clear(self) -> None: ...
    def invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def refresh(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@overload
def memoize(
    fn: classmethod[_S, _P, _R],
    /,
    *,
    max_entries: int | None = 128,
    max_size_bytes: int | None = None,
    policy: str | Policy = "lru",
    ttl: float | timedelta | None = None,
    idle: float | timedelta | None = None,
    sizeof: Callable[[Any, Any], int] | None = None,
    name: str | None = None,
    key: Callable[..., Hashable] | None = None,
    ignore: str | Iterable[str] = (),
) -> classmethod[_S, _P, _R]: ...
@overload
def memoize(  # type: ignore[overload-overlap]
    fn: staticmethod[_P, _R],
    /,
    *,
    max_entries: int | None = 128,
    max_size_bytes: int | None = None,
    policy: str | Policy = "lru",
    ttl: float | timedelta | None = None,
    idle: float | timedelta | None = None,
    sizeof: Callable[[Any, Any], int] | None = None,
    name: str | None = None,
    key: Callable[..., Hashable] | None = None,
    ignore: str | Iterable[str] = (),
) -> staticmethod[_P, _R]: ...
@overload
def memoize(
    fn: Callable[_P, _R],
    /,
    *,
    max_entries: int | None = 128,
    max_size_bytes: int | None = None,
    policy: str | Policy = "lru",
    ttl: float | timedelta | None = None,
    idle: float | timedelta | None = None,
    sizeof: Callable[[Any, Any], int] | None = None,
    name: str | None = None,
    key: Callable[..., Hashable] | None = None,
    ignore: str | Iterable[str] = (),
) -> Memoized[_P, _R]: ...
@overload
def memoize(
    fn: None = None,
    /,
    *,
    max_entries: int | None = 128,
    max_size_bytes: int | None = None,
    policy: str | Policy = "lru",
    ttl: float | timedelta | None = None,
    idle: float | timedelta | None = None,
    sizeof: Callable[[Any, Any], int] | None = None,
    name: str | None = None,
    key: Callable[..., Hashable] | None = None,
    ignore: str | Iterable[str] = (),
) -> _Memoize: ...

# Values to bytes and back; for frys_cache.codec.

def encode_value(value: object, /) -> tuple[int, bytes]: ...
def decode_value(code: int, body: bytes, /) -> Any: ...
def _register(
    cls: type,
    name: str,
    fields: tuple[str, ...],
    slots: tuple[MemberDescriptorType | None, ...],
    spare: tuple[MemberDescriptorType, ...],
    given: frozenset[str],
    has_dict: bool,
    members: dict[str, Any] | None,
    by_identity: bool,
) -> None: ...
@overload
def _registered(key: str) -> type | None: ...
@overload
def _registered(key: type) -> str | None: ...
