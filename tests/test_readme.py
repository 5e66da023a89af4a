"""Every Python block of the README runs as a reader would run it: copied out, alone."""

import doctest
import re
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = [
    (TEXT.count("\n", 0, found.start()) + 1, found[1])
    for found in re.finditer(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
]


def test_readme_has_python_blocks():
    """Catches a fence in another spelling, which would leave the README untested."""
    assert BLOCKS


@pytest.mark.parametrize(("line", "code"), BLOCKS, ids=[f"line{line}" for line, _ in BLOCKS])
def test_readme_block_runs(line, code, tmp_path, monkeypatch):
    """Catches an example that promises what does not work."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    if ">>>" in code:
        run_doctest(code, names, line)
    else:
        exec(compile("\n" * line + code, README, "exec"), names)


def run_doctest(code, names, line):
    """Run an interactive session; fail with doctest's own report."""
    test = doctest.DocTestParser().get_doctest(code, names, "README.md", str(README), line)
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=report.append)
    sys.stdout.flush()
    assert runner.tries > 0
    assert runner.failures == 0, "".join(report)
