"""The Python blocks of the README run, in order, as one session of a reader."""

import doctest
import re
from pathlib import Path

import rocksdict  # noqa: F401  left out where it is not installed

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_readme_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Catches an example that promises what does not work."""
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    blocks = list(BLOCK.finditer(text))
    assert blocks, "no block fenced as python: is it spelled otherwise?"
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        if ">>>" in block[1]:
            run_session(block[1], names, line)
        else:
            exec(compile("\n" * line + block[1], README, "exec"), names)


def run_session(code, names, line):
    """Run an interactive session, which leaves its names behind; fail with doctest's own report."""
    test = doctest.DocTestParser().get_doctest(code, names, "README.md", str(README), line)
    test.globs = names  # the parser made a copy
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=report.append, clear_globs=False)
    assert runner.failures == 0, "".join(report)
