"""Compile and run the plain-C tests: python tests/c/run.py [name ...].

Every tests/c/test_*.c is compiled with warnings as errors and under AddressSanitizer and UBSan, and
run; every header of csrc is compiled alone, since each must be usable alone.  Ends with the first
failure.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent.parent / "csrc"
CC = shlex.split(os.environ.get("CC", "cc"))
# Some headers stand on Python's; those are not ours to warn about.
PYTHON = ["-isystem", sysconfig.get_path("include")]
WARN = ["-std=c11", "-Wall", "-Wextra", "-Wshadow", "-Werror", f"-I{CSRC}"]
SANITIZE = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
SANITIZE += ["-fsanitize=address,undefined"]


def run(what, command, **options):
    """Run a command; print one line when it works, everything it said when not."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode != 0:
        print(f"{what}: FAILED ({done.returncode})", shlex.join(map(str, command)), sep="\n")
        sys.exit(done.stdout)
    print(f"{what}: ok", flush=True)


def main(names):
    """Check the headers, then compile and run the programs whose name is asked for (or all)."""
    if not names:
        for header in sorted(CSRC.rglob("*.h")):
            name = header.relative_to(CSRC).as_posix()
            text = f'#include "{name}"\nint main(void) {{ return 0; }}\n'
            run(f"{name} alone", [*CC, *WARN, *PYTHON, "-fsyntax-only", "-xc", "-"], input=text)

    programs = [p for p in sorted(HERE.glob("test_*.c")) if not names or p.stem in names]
    if not programs:
        sys.exit(f"no C tests found in {HERE}")
    with tempfile.TemporaryDirectory() as folder:
        for program in programs:
            binary = Path(folder, program.stem)
            run(f"{program.stem} compiles", [*CC, *WARN, *SANITIZE, program, "-o", binary, "-lm"])
            run(program.stem, [binary], timeout=300)


if __name__ == "__main__":
    main(sys.argv[1:])
