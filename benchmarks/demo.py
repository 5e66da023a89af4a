"""The main job on real input: summarise every module of the standard library, twice.

A summary is plain data (functions, classes, names, docstring, lines) made with ast, some
milliseconds a file.  The first pass finds the cache cold and fills it, the second finds it warm.

    make demo        or, with frys_cache and rich installed: python benchmarks/demo.py
"""

import ast
import sys
import sysconfig
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from frys_cache import MISSING, FrysCache

LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "__pycache__"}
STEP = 32  # files between two looks at the progress bar, which stay out of the time


@dataclass(frozen=True)
class Pass:
    """What one pass over all files did."""

    name: str
    files: int
    seconds: float
    hit_ratio: float
    entries: int
    size: int


def stdlib_files():
    """Return the .py files of the standard library, without its tests."""
    home = Path(sysconfig.get_path("stdlib"))
    files = []
    for name in sorted(sys.stdlib_module_names):
        file, folder = home / f"{name}.py", home / name
        if file.is_file():
            files.append(file)
        elif name not in LEFT_OUT and folder.is_dir():
            files += sorted(
                path
                for path in folder.rglob("*.py")
                if LEFT_OUT.isdisjoint(path.relative_to(home).parts)
            )
    return files


def summarise(path):
    """Return what a module holds, as plain data."""
    source = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in somebody else's strings
        tree = ast.parse(source)
    functions, classes, names = [], [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append(node.name)
        elif isinstance(node, ast.ClassDef):
            classes.append(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
    return {
        "functions": functions,
        "classes": classes,
        "names": sorted(set(names)),
        "doc": ast.get_docstring(tree),
        "lines": source.count(b"\n"),
    }


def summary_of(cache, path):
    """Return the summary of a file as it is now, from the cache if it is there."""
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    summary = cache.get(key, MISSING)
    if summary is MISSING:
        summary = cache[key] = summarise(path)
    return summary


def run_pass(name, cache, files, on_progress):
    """Ask for every summary once; return the Pass.  Only the asking is timed."""
    before = cache.stats()
    seconds = 0.0
    for at in range(0, len(files), STEP):
        step = files[at : at + STEP]
        start = time.perf_counter()
        for path in step:
            summary_of(cache, path)
        seconds += time.perf_counter() - start
        on_progress(len(step))
    after = cache.stats()
    requests = after.requests - before.requests
    return Pass(
        name=name,
        files=len(files),
        seconds=seconds,
        hit_ratio=(after.hits - before.hits) / requests,
        entries=after.entries,
        size=deep_size(*cache.keys(), *cache.values()),
    )


def deep_size(*things):
    """Return the bytes of plain data and of all that it holds, each object once.

    `stats().total_size` counts keys and values as sys.getsizeof does, without what they hold.
    """
    seen, size, todo = set(), 0, list(things)
    while todo:
        thing = todo.pop()
        if id(thing) not in seen:
            seen.add(id(thing))
            size += sys.getsizeof(thing)
            if isinstance(thing, dict):
                todo += [*thing.keys(), *thing.values()]
            elif isinstance(thing, list | tuple):
                todo += thing
    return size


def result_table(passes):
    """Return the passes as a table, each compared with the first."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("pass", style="cyan")
    for title in ("time", "files/s", "hit ratio", "speed-up", "entries", "memory"):
        table.add_column(title, justify="right")
    slowest = passes[0].seconds
    for done in passes:
        table.add_row(
            done.name,
            duration(done.seconds),
            f"{done.files / done.seconds:,.0f}",
            f"{done.hit_ratio:.1%}",
            "" if done is passes[0] else f"[bold green]{slowest / done.seconds:,.0f} x[/]",
            f"{done.entries:,}",
            f"{done.size / 2**20:.1f} MiB",
        )
    return table


def duration(seconds):
    """Return a duration with three figures and a fitting unit."""
    for limit, unit, factor in ((1e-3, "us", 1e6), (1.0, "ms", 1e3)):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.2f} s"


def progress_bar(console):
    """Return the progress bar: gone when done, and never there without a terminal."""
    return Progress(
        TextColumn("{task.description}", style="cyan"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def main():
    """Run the passes and show what they did."""
    console = Console(highlight=False)
    version = ".".join(map(str, sys.version_info[:3]))
    files = stdlib_files()
    cache = FrysCache(max_entries=10_000)
    console.print(
        f"[bold]Frys Cache[/]  summaries of the {len(files):,} modules "
        f"of CPython {version}'s standard library\n"
    )
    with progress_bar(console) as progress:
        passes = []
        for name in ("first", "second"):
            task = progress.add_task(f"{name} pass", total=len(files))
            passes.append(
                run_pass(name, cache, files, lambda n, task=task: progress.advance(task, n))
            )
    console.print(result_table(passes))

    found = [summary_of(cache, path) for path in files]
    console.print(
        f"Found {sum(len(one['functions']) for one in found):,} functions"
        f" and {sum(len(one['classes']) for one in found):,} classes"
        f" in {sum(one['lines'] for one in found):,} lines.",
        style="dim",
    )


if __name__ == "__main__":
    main()
