"""Run a piece of Python in an interpreter of its own, where a crash or a hang is a failed test.

The child imports the very package that this interpreter has, prints a stack where it crashes, and
is killed when its time is over.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import frys_cache

# An extension that does not say it can do without the GIL makes a free-threaded build warn.
GIL_NOTICE = "ignore:The global interpreter lock:RuntimeWarning"
# Fork beside a running thread is what some of these tests are about.
FORK_NOTICE = "ignore:This process:DeprecationWarning"


def run(source, *args, seconds=120, leaks=True):
    """Run `source` with `args` in sys.argv; return the CompletedProcess with text output.

    leaks: whether a sanitizer, if there is one, looks for leaks.  An interpreter that ends beside
    daemon threads leaks what they hold, and one that ends after a fork its own locks, whatever they
    run.
    """
    package_home = str(Path(frys_cache.__file__).parents[1])
    path = [package_home, *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    if not leaks:
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    return subprocess.run(
        [
            *(sys.executable, "-P", "-X", "faulthandler", "-W", GIL_NOTICE, "-W", FORK_NOTICE),
            *("-c", textwrap.dedent(source), *map(str, args)),
        ],
        env=env,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def run_quietly(source, *args, **options):
    """Run `source`; fail unless it ends with exit code 0 and nothing on stderr; return stdout."""
    done = run(source, *args, **options)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stderr == "", done.stderr
    return done.stdout
