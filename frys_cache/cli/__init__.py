"""The `frys` command.

Nothing here imports numpy, matplotlib, rich or zstandard before it needs them: without the extra
`cli` the command says what to install.
"""

from frys_cache.cli.command import main

__all__ = ["main"]
