"""Compile consumer.pyx the way another package would: cythonize against what is installed.

The compiler runs in a process of its own, `python build.py DIRECTORY PACKAGES`, where PACKAGES is
the folder that holds frys_cache: it may need another environment than the one that loads it.
"""

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCE = Path(__file__).with_name("consumer.pyx")


def build(directory, env=None):
    """Build the extension in `directory` and return the module; ImportError when that fails."""
    import frys_cache

    # The imported package and no other: in a checkout the current directory holds one too.
    packages = Path(frys_cache.__file__).parent.parent
    command = [sys.executable, __file__, directory, packages]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise ImportError(f"consumer.pyx does not build:\n{done.stdout}{done.stderr}")
    path = Path(directory) / f"consumer{sysconfig.get_config_var('EXT_SUFFIX')}"
    spec = importlib.util.spec_from_file_location("consumer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_in(directory, packages):
    """Run cythonize and the C compiler; every file made stays below `directory`."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    copy = shutil.copy(SOURCE, directory)
    sources = cythonize([Extension("consumer", [copy])], include_path=[packages])
    command = Distribution({"ext_modules": sources}).get_command_obj("build_ext")
    command.build_lib = directory
    command.build_temp = str(Path(directory) / "objects")
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    compile_in(*sys.argv[1:])
