"""Every example in a docstring of the package runs, those of the extension too."""

import doctest
import importlib.util
import os
import pkgutil

import pytest

import frys_cache

# Where nothing may be missing, an example that cannot run fails.
NO_DISK = (
    os.environ.get("FRYS_ALLOW_MISSING") == "1" and importlib.util.find_spec("rocksdict") is None
)


def examples():
    """Yield every docstring with an example, of every module of the installed package."""
    names = [found.name for found in pkgutil.walk_packages(frys_cache.__path__, "frys_cache.")]
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in ["frys_cache", *names]:
        for test in finder.find(importlib.import_module(name)):
            on_disk = "persistent=" in test.docstring or "PersistentCache(" in test.docstring
            if test.examples and not (NO_DISK and on_disk):
                yield test


EXAMPLES = list(examples())


def test_package_has_examples():
    """Catches a finder that finds nothing."""
    assert EXAMPLES


@pytest.mark.parametrize("test", EXAMPLES, ids=[test.name for test in EXAMPLES])
def test_docstring_example_runs(test):
    """Catches documentation that is no longer true."""
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
