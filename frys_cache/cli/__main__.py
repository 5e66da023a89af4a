"""`python -m frys_cache.cli` is `frys`."""

import sys

from frys_cache.cli.command import main

if __name__ == "__main__":
    sys.exit(main())
