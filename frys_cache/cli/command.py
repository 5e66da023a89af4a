"""The command line: arguments, what is missing, where results go, exit statuses.

0: done.  1: a result could not be written.  2: a wrong argument, a bad trace, or a package that is
not installed; nothing was written.  130: interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from frys_cache.cli.plot import FORMATS, draw
from frys_cache.cli.report import as_json
from frys_cache.cli.study import BadSizes, Study, ladder, parse_sizes, steps, study
from frys_cache.cli.table import RULE, show, show_means
from frys_cache.cli.traces import BadTrace, Source, companion_of, read
from frys_cache.simulation import OPT, SIMULATED

__all__ = ["main"]

NEEDS = ("numpy", "matplotlib", "rich", "zstandard")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process; the exit status."""
    options = parser().parse_args(argv)
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        return fail(f"{', '.join(missing)} missing: pip install 'frys-cache[cli]'")
    try:
        return simulate(options)
    except (BadTrace, BadSizes) as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"{error.filename or 'output'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        return fail("interrupted", 130)


def fail(message: str, status: int = 2) -> int:
    """Say what went wrong; the exit status."""
    with suppress(OSError):
        sys.stderr.write(f"frys simulate: {message}\n")
    return status


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="frys", description="Tools around Frys Cache.  `frys simulate --help` says more."
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    simulating = commands.add_parser(
        "simulate",
        help="say which policy and what size suit a trace of requests",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=ABOUT,
        epilog=EPILOG,
    )
    add = simulating.add_argument
    add(
        "traces",
        nargs="+",
        metavar="TRACE",
        help="file of requests, oldest first; - is text from stdin",
    )
    add(
        "--policies",
        type=policies_of,
        default=list(SIMULATED),
        metavar="NAMES",
        help=f"separated by commas, by default all: {','.join(SIMULATED)}",
    )
    add(
        "--sizes",
        metavar="SIZES",
        help=SIZES,
    )
    add("--bytes", action="store_true", help="bound the caches by bytes: the trace must have sizes")
    add("--no-opt", action="store_true", help="leave out OPT")
    add(
        "--plot",
        type=plot_of,
        metavar="FILE",
        help="draw hit ratio over size: .png, .svg, or .html (one file with the tables)",
    )
    add(
        "--json",
        type=json_of,
        metavar="FILE",
        help="write all figures there; - is stdout, and no table",
    )
    add("--quiet", action="store_true", help="no progress bar")
    return top


ABOUT = """\
Run traces of requests through caches of every policy and many sizes, and say
which to take.  The caches are the real ones, without the objects.  OPT is
Belady's optimum, which knows the future: the ceiling."""
SIZES = (
    "separated by commas: entries (500,10k,2M) or shares of the different keys (0.5%%,10%%); with "
    "--bytes 512K,10M,2G or shares of the bytes of all objects; by default doublings from 0.1%% to "
    "100%%"
)
EPILOG = f"""\
traces:
  *.npy       one dimension of ints, one for each request
  *.csv       key,size with or without a header
  otherwise   text, one key a line
  each also as .gz or .zst.  With --bytes a NAME.npy takes its sizes from
  NAME.sizes.npy.  cache.record(path) writes a .npy of your own traffic.

advice:
  {RULE[0]}
  {RULE[1]}

curves:
  lru is exact at every size, from stack distances in one pass; the others are
  simulated size by size.  With --bytes all are, and OPT is a heuristic.

json: {{"traces": [...]}}, each with
  trace, requests, keys, unit ("entries" or "bytes"), whole (100 % of the size),
  results: list of policy, size, hits, misses, evictions, hit_ratio,
    byte_hit_ratio (null without --bytes)
  means: hit ratio by policy;  lru_curve: list of [size, hit_ratio]
  advice: policy, size, hit_ratio, opt_hit_ratio, doubled_size,
    doubled_hit_ratio, sentence

exit status:
  0 done; 1 a result could not be written; 2 a wrong argument, a bad trace or a
  missing package, nothing written; 130 interrupted

example:
  frys simulate requests.npy --sizes 1k,10k,100k,5% --plot hits.png
"""


def policies_of(text: str) -> list[str]:
    """Return the policies that a list names; for argparse."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    known = [*SIMULATED, OPT]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no policy {name!r}; there are {', '.join(known)}")
    names = [name for name in names if name != OPT]
    if not names:
        raise argparse.ArgumentTypeError("name at least one besides opt, which is always there")
    return names


def plot_of(text: str) -> Path:
    """Return where a plot goes; for argparse."""
    path = Path(text)
    if path.suffix not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} must end in {', '.join(FORMATS)}")
    return writable(path)


def json_of(text: str) -> Path:
    """Return where the figures go, - for stdout; for argparse."""
    return Path("-") if text == "-" else writable(Path(text))


def writable(path: Path) -> Path:
    """Return the path if a file can be made there."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(
            f"cannot write {str(path)!r}: no such folder, or no right to"
        )
    return path


def simulate(options: argparse.Namespace) -> int:
    """Read all traces, then simulate, then write: what is wrong with one leaves nothing behind."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    check_outputs(options)
    sources = []
    for path in options.traces:
        with status(options.quiet, f"reading {path}"):
            sources.append(read(path, options.bytes))
    sizes = [sizes_of(source, options.sizes) for source in sources]
    policies = [*options.policies, *([] if options.no_opt else [OPT])]
    total = sum(steps(source, policies, some) for source, some in zip(sources, sizes, strict=True))
    studies = []
    with progress(options.quiet, total) as tick:
        for source, some in zip(sources, sizes, strict=True):
            studies.append(study(source, policies, some, tick))
    deliver(studies, options, console)
    return 0


def sizes_of(source: Source, text: str | None) -> list[int]:
    """Return the sizes to simulate a trace at."""
    if text is None:
        return ladder(source.whole)
    return parse_sizes(text, source.whole, source.in_bytes)


def check_outputs(options: argparse.Namespace) -> None:
    """Refuse to write a result over a trace, or one over the other."""
    read_from = [path for path in options.traces if path != "-" and "\0" not in path]
    taken = {os.path.realpath(path): path for path in read_from}
    for beside in map(companion_of, read_from):
        if beside is not None:
            taken[os.path.realpath(beside)] = str(beside)
    for path in (options.plot, options.json):
        if path is None or path == Path("-"):
            continue
        real = os.path.realpath(path)
        if real in taken:
            raise BadTrace(f"{path}: would be written over {taken[real]}: name another file")
        taken[real] = str(path)


def deliver(studies: list[Study], options: argparse.Namespace, console: Any) -> None:
    """Write the files, then print."""
    if options.plot is not None:
        replace(options.plot, draw(studies, options.plot.suffix))
    if options.json is not None:
        text = json.dumps(as_json(studies), indent=1) + "\n"
        if options.json == Path("-"):
            sys.stdout.write(text)
            return
        replace(options.json, text.encode())
    for number, one in enumerate(studies):
        if number:
            console.print()
        show(one, console)
    if len(studies) > 1:
        console.print()
        show_means(studies, console)


def replace(path: Path, content: bytes) -> None:
    """Write a file in one step: it is the old one or the new one, never half of it."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():  # a pipe or a device
        path.write_bytes(content)
        return
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_bytes(content)
        half.replace(path)
    except OSError:
        half.unlink(missing_ok=True)
        raise


@contextmanager
def status(quiet: bool, text: str) -> Iterator[None]:
    """Show what goes on, on a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
    else:
        with console.status(text):
            yield


@contextmanager
def progress(quiet: bool, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal; what is yielded takes the requests that are done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [
        TextColumn("simulating"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    ]
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("simulating", total=total, speed="")

        def tick(count: int) -> None:
            bar.advance(task, count)
            speed = bar.tasks[0].speed
            if speed:
                bar.update(task, speed=f"{speed / 1e6:.0f} M requests/s")

        yield tick
