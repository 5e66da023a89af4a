"""The shape of the source: who may import whom, what stays out of C and of a hit, file sizes.

Reads the source tree, so it holds for the files as they are, whichever package is installed.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

from frys_cache import FrysCache

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "frys_cache"
CSRC = ROOT / "csrc"
LONGEST = 500

# Who may import whom, lowest first.  A name ending in "/" stands for a folder, whose files may
# import one another.  Files that do not exist yet have their line already.
LOWEST = {"errors", "types"}
CODEC = LOWEST | {"codec/"}
TIERS = CODEC | {"tiers/base"}
# The persistent tier from RocksDB upwards.
DATABASE = TIERS | {"tiers/handle", "tiers/rocks"}
STORE = DATABASE | {"tiers/opening", "tiers/reserve", "tiers/sentinel", "tiers/store"}
# What needs no database: clocks, locks, and what a cache is given.
STEPS = {
    f"tiers/{name}"
    for name in (
        "admission",
        "arguments",
        "closed",
        "nothing",
        "standin",
        "stripes",
        "sweeper",
        "versions",
    )
}
DISK = STORE | STEPS | {"tiers/disk"}
# What stands beside the tiers, and what the manager is made of.
BESIDE = {"_core", "flight", "flight_ring", "breaker", "health", "consistency", "tiers/", *CODEC}
CHAIN = BESIDE | {"chain/", "writeback/"}
SIDE = {"policies", "invalidation", "preload", "stats"}
MODELS = {"_queue_models", "_reference_views", "_tinylfu_model"}
FOR_TESTS = {"_tier_contract", "_faulty_tier", "_history"}
FRONT = {"below", "cache", "aio", "builder"}
PUBLIC = {"__init__"}
MAY_IMPORT = {
    "errors": set(),
    "types": set(),
    "_core": LOWEST | {"flight"},
    "codec/": LOWEST | {"_core"},
    "tiers/__init__": LOWEST | {"tiers/"},
    "tiers/base": LOWEST,
    "tiers/waking": LOWEST,
    "tiers/face": LOWEST | {"flight", "flight_ring", "tiers/waking"},
    "tiers/handle": LOWEST,
    "tiers/rocks": LOWEST | {"tiers/base", "tiers/handle"},
    "tiers/reserve": LOWEST,
    "tiers/sentinel": LOWEST,
    "tiers/opening": DATABASE | {"tiers/sentinel"},
    "tiers/store": STORE,
    **dict.fromkeys(STEPS, LOWEST | {"tiers/base"}),
    "tiers/sweeper": LOWEST | {"_core", "tiers/base"},
    "tiers/standin": CODEC | {"tiers/base", "tiers/arguments", "tiers/versions"},
    "tiers/disk": STORE | STEPS | {"_core", "tiers/settling"},
    "tiers/bound": DISK | {"tiers/settling"},
    "tiers/secondary": DISK,
    "tiers/settling": DATABASE | STEPS,
    "tiers/changes": DISK | {"_core"},
    "tiers/shared": DISK | {"tiers/bound", "tiers/secondary"},
    "tiers/whole": DISK,
    "tiers/persistent": DISK | {"tiers/bound", "tiers/changes", "tiers/shared", "tiers/whole"},
    "tiers/distributed": TIERS,
    "tiers/coherence": TIERS,
    "simulation": LOWEST | {"_core"},
    "flight_ring": LOWEST,
    "flight": LOWEST | {"flight_ring"},
    "breaker": LOWEST,
    "health": LOWEST | {"_core"},
    # For type checkers: what a write-back keeps waiting.
    "consistency": LOWEST | {"tiers/base", "writeback/"},
    "chain/": CHAIN | {"config"},
    "writeback/": CODEC | {"_core", "tiers/"},
    # For type checkers: the configuration that a pickle is made of.
    "manager": CHAIN | {"config"},
    **dict.fromkeys(SIDE, CHAIN | {"manager"}),
    "config": LOWEST | {"policies", "consistency", "chain/freshness"},
    **dict.fromkeys(FRONT, CHAIN | {"manager", "config"} | SIDE | FRONT),
    **dict.fromkeys(MODELS, LOWEST),
    "_tier_contract": LOWEST | {"tiers/face", "tiers/standin"},
    **dict.fromkeys(("_faulty_tier", "_history"), LOWEST | {"tiers/face"}),
    "testing": MODELS | FOR_TESTS | CHAIN | {"manager"} | SIDE | FRONT | PUBLIC,
    "__init__": CHAIN | {"manager", "simulation", "config"} | SIDE | FRONT,
    "monitor/": PUBLIC,
    "contrib/": PUBLIC,
    "cli/": PUBLIC | {"simulation"},
}

# An optional dependency is imported in exactly one place; zstandard also packs traces.
OUTSIDE = {
    "rocksdict": "tiers/rocks",
    "redis": "tiers/distributed",
    "msgspec": "codec/registry",
    "zstandard": ("codec/compression", "cli/traces"),
    "prometheus_client": "monitor/",
    "opentelemetry": "monitor/",
    "rich": "cli/",
    "matplotlib": "cli/",
    "numpy": "cli/",
    # Test code that is shipped for authors of tiers.
    "pytest": "_tier_contract",
    # Only read by type checkers, which bring it along.
    "typing_extensions": "_core.pyi",
}

CYTHON_IMPORT = re.compile(
    r"^\s*from\s+([\w.]+)\s+c?import\s+\(?([^#\n]*)|^\s*c?import\s+([\w., ]+)"
)


def layer_of(path):
    """Return the name of a source file in the table of layers: its path without the suffix."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def python_imports(path):
    """Yield (module, names) for every import of a Python file, wherever in the file it is."""
    for node in ast.walk(ast.parse(path.read_bytes(), path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]


def cython_imports(path):
    """Yield (module, names) for every import and cimport of a Cython file."""
    for line in path.read_text().splitlines():
        found = CYTHON_IMPORT.match(line)
        if found and found[1]:
            yield found[1], re.findall(r"(\w+)(?:\s+as\s+\w+)?", found[2])
        elif found:
            for name in found[3].split(","):
                yield name.split()[0], []


def resolve(path, module, names):
    """Yield the files of the package, as names in the table, or the outside packages, imported."""
    dots = len(module) - len(module.lstrip("."))
    parts = module.lstrip(".").split(".") if module.lstrip(".") else []
    if dots:
        folder = path.parent
        for _ in range(dots - 1):
            folder = folder.parent
        parts = ["frys_cache", *folder.relative_to(PACKAGE).parts, *parts]
    if parts[0] != "frys_cache":
        yield parts[0], True
        return
    inside = parts[1:]
    # `from .tiers import base` names a file, `from .types import MISSING` a thing in it.
    files = [[*inside, name] for name in names if is_file([*inside, name])]
    for file in files or [inside]:
        yield "/".join(file) if is_module(file) else "/".join([*file, "__init__"]), False


def is_file(parts):
    """Return whether a dotted path below the package is a module or a package."""
    return is_module(parts) or PACKAGE.joinpath(*parts, "__init__.py").exists()


def is_module(parts):
    """Return whether a dotted path below the package is a module."""
    return bool(parts) and any(
        PACKAGE.joinpath(*parts).with_suffix(end).exists() for end in (".py", ".pyx", ".pxd")
    )


def covers(rule, name):
    """Return whether a name in the table, perhaps of a folder, covers a file."""
    return name == rule or (rule.endswith("/") and name.startswith(rule))


def rule_of(layer):
    """Return what a file may import, and the folder whose files it may import freely."""
    if layer in MAY_IMPORT:
        return MAY_IMPORT[layer]
    for rule, allowed in MAY_IMPORT.items():
        if covers(rule, layer):
            return allowed | {rule}
    return None


def wrong_arrows(path, layer, imports):
    """Return a sentence for each import that the table does not allow."""
    allowed = rule_of(layer)
    if allowed is None:
        return [f"{layer} has no line in the table of layers"]
    wrong = []
    for module, names in imports:
        for target, outside in resolve(path, module, names):
            if outside:
                homes = OUTSIDE.get(target, ())
                homes = (homes,) if isinstance(homes, str) else homes
                if path.name in homes:
                    continue
                fine = target in sys.stdlib_module_names or target in {"cython", "cpython", "libc"}
                fine = fine or any(covers(home, layer) for home in homes)
            else:
                fine = target == layer or any(covers(rule, target) for rule in allowed)
            if not fine:
                wrong.append(f"{layer} imports {target}")
    return wrong


def files(*suffixes):
    """Return the source files of the package with one of the suffixes."""
    return sorted(path for path in PACKAGE.rglob("*") if path.suffix in suffixes)


@pytest.mark.parametrize("path", files(".py", ".pyi"), ids=layer_of)
def test_python_file_imports_only_what_its_layer_may(path):
    """Catches an upward import, and a second home of an optional dependency."""
    assert wrong_arrows(path, layer_of(path), python_imports(path)) == []


@pytest.mark.parametrize("path", files(".pyx", ".pxi", ".pxd"), ids=lambda path: path.name)
def test_cython_file_imports_only_what_its_layer_may(path):
    """Catches the extension reaching up into Python above it; a part counts as the whole."""
    assert wrong_arrows(path, "_core", cython_imports(path)) == []


@pytest.mark.parametrize(
    ("layer", "line", "wrong"),
    [
        ("cache", "from .manager import CacheManager", []),
        ("cache", "from frys_cache._core import MemoryCache", []),
        ("types", "from . import errors", ["types imports errors"]),
        ("errors", "import frys_cache", ["errors imports __init__"]),
        ("_core", "import frys_cache.cache", ["_core imports cache"]),
        ("manager", "import redis", ["manager imports redis"]),
        ("monitor/log", "from frys_cache import FrysCache", []),
        ("monitor/log", "from ..types import MISSING", ["monitor/log imports types"]),
        ("nowhere", "import os", ["nowhere has no line in the table of layers"]),
    ],
)
def test_layer_rules_example_is_judged_rightly(layer, line, wrong, monkeypatch):
    """Catches a checker that finds nothing because it looks at nothing."""
    monkeypatch.setattr(sys.modules[__name__], "is_module", lambda parts: bool(parts))
    monkeypatch.setattr(sys.modules[__name__], "is_file", lambda parts: parts[-1].islower())
    path = PACKAGE / f"{layer}.py"
    node = ast.parse(line).body[0]
    if isinstance(node, ast.Import):
        imports = [(node.names[0].name, [])]
    else:
        imports = [("." * node.level + (node.module or ""), [a.name for a in node.names])]
    assert wrong_arrows(path, layer, imports) == wrong


@pytest.mark.parametrize("name", ["__getitem__", "get", "__contains__"])
def test_fryscache_hot_method_is_not_overridden(name):
    """Catches a Python method on the path of a hit, which would cost more than the hit."""
    assert name not in FrysCache.__dict__


def includes(path):
    """Return the names of the headers that a header includes."""
    found = re.findall(r"^\s*#\s*include\s*[<\"]([^>\"]+)", path.read_text(), re.MULTILINE)
    return {Path(name).name for name in found}


@pytest.mark.parametrize("path", sorted(CSRC.rglob("*.h")), ids=lambda path: path.name)
def test_python_header_is_included_in_one_place(path):
    """Catches a second door to the interpreter."""
    assert path.name == "fc_python.h" or "Python.h" not in includes(path)


def test_engine_knows_nothing_of_python():
    """Catches C that could no longer be tested, or shared between processes, without Python."""
    reached, todo = set(), {"fc_store.h", *(path.name for path in CSRC.glob("policy/*.h"))}
    while todo:
        name = todo.pop()
        reached.add(name)
        for path in CSRC.rglob(name):
            todo |= includes(path) - reached
    assert "fc_table.h" in reached
    assert not {"Python.h", "fc_python.h"} & reached


def opening_comment(path):
    """Return the first docstring or comment block of a file."""
    text = path.read_text().lstrip()
    if text.startswith('"""'):
        return text.split('"""')[1]
    if text.startswith("/*"):
        return text.split("*/")[0]
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line)
    rest = text[len("\n".join(lines)) :].lstrip()
    # The directives of a .pyx must come first; its essay may follow as a docstring.
    return "\n".join(lines) + (rest.split('"""')[1] if rest.startswith('"""') else "")


@pytest.mark.parametrize(
    "path",
    files(".py", ".pyi", ".pyx", ".pxi", ".pxd") + sorted(CSRC.rglob("*.h")),
    ids=lambda path: path.name,
)
def test_file_is_short_or_says_why_not(path):
    """Catches a seam that was missed: over 500 lines needs "Long because ..." at the top."""
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST or re.search(r"\blong because\b", opening_comment(path), re.IGNORECASE)
