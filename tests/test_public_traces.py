"""Hit counts on the ten public traces, beside two other programs that simulate the same policies.

The traces and the plain simulator are in the folder that FRYS_SHARED names; where there is none,
these tests are left out.  libcachesim is asked where it can be imported; elsewhere its counts, which
version 0.3.5 gave, stand below.
"""

import ctypes
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from frys_cache import MemoryCache

SHARED = os.environ.get("FRYS_SHARED")
if SHARED is None or not Path(SHARED, "traces").is_dir():
    pytest.skip("FRYS_SHARED names no folder with public traces", allow_module_level=True)

np = pytest.importorskip("numpy", exc_type=ImportError) if False else __import__("numpy")
