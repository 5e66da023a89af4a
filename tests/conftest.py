"""What all tests share: which package is tested, how hard hypothesis tries, what may be absent.

Read from the environment:

    FRYS_EXPECT_INSTALLED=1  the tested package must be the installed one, not the source tree
    FRYS_ALLOW_MISSING=1     a test file that needs an absent package is left out and named
    FRYS_SHARED              folder with traces, beside the project by default; tests of it may skip
    FRYS_SOAK=1              many more examples, other ones in every run
    FRYS_BRIEF=1             a fifth of the examples, where another interpreter runs them all
    FRYS_SANITIZED=1         the extension is built with sanitizers: memory and speed mean nothing
"""

import ast
import gc
import importlib.util
import os
import signal
import sysconfig
from pathlib import Path

import pytest

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:
    if os.environ.get("FRYS_ALLOW_MISSING") != "1":
        raise
    settings = None

import frys_cache

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("FRYS_SHARED", ROOT.parent / "shared")).resolve()
SOAK = os.environ.get("FRYS_SOAK") == "1"

# A shell lets what it starts in the background ignore Ctrl-C, which tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A test that starts `python -c` in the project's folder must not pick up the source tree.
os.environ.setdefault("PYTHONSAFEPATH", "1")

if os.environ.get("FRYS_EXPECT_INSTALLED") == "1":
    site = Path(sysconfig.get_path("platlib")).resolve()
    found = Path(frys_cache.__file__).resolve()
    if not found.is_relative_to(site):
        pytest.exit(f"expected the package installed in {site}, but {found} would be tested", 3)

if settings is not None:
    # ci repeats the same examples: a red run stays red until mended; soak looks for new ones.
    # No deadline: sanitizers and a busy machine are slow, which is no bug.
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings.register_profile(
        "ci",
        derandomize=True,
        deadline=None,
        print_blob=True,
        database=None,
        suppress_health_check=slow,
    )
    settings.register_profile("brief", settings.get_profile("ci"), max_examples=20)
    settings.register_profile(
        "soak",
        max_examples=2_000,
        stateful_step_count=200,
        deadline=None,
        print_blob=True,
        suppress_health_check=slow,
    )
    brief = os.environ.get("FRYS_BRIEF") == "1"
    settings.load_profile("soak" if SOAK else "brief" if brief else "ci")


@pytest.fixture(scope="session")
def shared():
    """Return the folder of traces; skip with a notice where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"NOTICE: FRYS_SHARED={SHARED} is not there")
    return SHARED


left_out = {}


def pytest_ignore_collect(collection_path):
    """Leave out a test file whose imports are not all there, if that is allowed."""
    if os.environ.get("FRYS_ALLOW_MISSING") != "1" or collection_path.suffix != ".py":
        return None
    missing = sorted(name for name in top_imports(collection_path) if is_missing(name))
    if missing:
        left_out[collection_path.name] = missing
        return True
    return None


def top_imports(path):
    """Return the top-level packages that a file imports at its outermost level."""
    names = set()
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def is_missing(name):
    """Return whether a package can be found neither beside the tests nor among the installed."""
    beside = ROOT / "tests" / name
    return (
        importlib.util.find_spec(name) is None
        and not beside.with_suffix(".py").exists()
        and not beside.is_dir()
    )


def pytest_collection_finish():
    """Put thousands of collected tests out of the collector's sight: its tests take a third so."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """Name what was left out: silence would look like success."""
    for name, missing in sorted(left_out.items()):
        terminalreporter.write_line(f"NOTICE: {name} left out, not installed: {', '.join(missing)}")
