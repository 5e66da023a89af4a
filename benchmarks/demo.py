"""The main job on real input: summarise every module of the standard library, three times.

A summary is plain data (functions, classes, names, docstring, lines) made with ast, some
milliseconds a file.  The cache is memory over a RocksDB database in a temporary folder.  The first
run finds it cold and fills it, the second is answered from memory.  Then the cache is closed, and a
new process, which is this program again, is answered from disk.

Each run asks for every file once, which includes stat() of the file.  Opening includes importing
RocksDB, and counts; starting Python and the other imports do not, and are told below the table.

    make demo        or, with frys_cache[persistent] and rich: python benchmarks/demo.py
"""

import ast
import json
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from frys_cache import FrysCache

LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "__pycache__"}


@dataclass(frozen=True)
class Run:
    """What one run over all files did, and where its answers came from."""

    name: str
    opening: float  # seconds
    asking: float  # seconds
    sources: dict[str, int]  # files by where their answers came from
    digest: str  # of all answers

    @property
    def seconds(self):
        return self.opening + self.asking


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
    return cache.get_or_set(key, lambda: summarise(path))


def open_cache(folder):
    """Open memory over disk; return the cache and the seconds that took."""
    start = time.perf_counter()
    cache = FrysCache(max_entries=10_000, persistent=folder / "summaries")
    return cache, time.perf_counter() - start


def ask_for_all(name, cache, files, opening=0.0):
    """Ask for every summary once; return the Run and the summaries."""
    before = cache.stats()
    start = time.perf_counter()
    answers = [summary_of(cache, path) for path in files]
    asking = time.perf_counter() - start
    after = cache.stats()
    sources = {
        "computed": after.misses - before.misses,
        "in memory": after.tiers["memory"].hits - before.tiers["memory"].hits,
        "on disk": after.tiers["persistent"].hits - before.tiers["persistent"].hits,
    }
    digest = sha256(repr(answers).encode()).hexdigest()
    return Run(name, opening, asking, sources, digest), answers


def ask_in_new_process(folder):
    """Start this program again on the same cache; return its Run and the seconds it took in all."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, str(folder)],
        stdout=subprocess.PIPE,
        check=True,
        process_group=0,  # Ctrl-C is for this process, which then ends the other
    )
    return Run(**json.loads(done.stdout)), time.perf_counter() - start


def be_the_new_process(folder):
    """Answer everything from the cache that another process has filled; print the Run as JSON."""
    cache, opening = open_cache(folder)
    with cache:
        run, _ = ask_for_all("new process", cache, stdlib_files(), opening)
    print(json.dumps(asdict(run)))


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


def folder_size(folder):
    """Return the bytes of all files in a folder and below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def new_table(*left, right):
    """Return a table with the titles of its columns."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, collapse_padding=True)
    for title in left:
        table.add_column(title, style="" if table.columns else "cyan")
    for title in right:
        table.add_column(title, justify="right")
    return table


def run_table(cold, *warm):
    """Return the runs as a table, each compared with the first."""
    titles = ("opening", "asking", "per file", "total", "speed-up")
    table = new_table("run", "found", right=titles)
    for run in (cold, *warm):
        table.add_row(
            run.name,
            ", ".join(f"{count:,} {source}" for source, count in run.sources.items() if count),
            duration(run.opening) if run.opening else "",
            duration(run.asking),
            duration(run.asking / sum(run.sources.values())),
            duration(run.seconds),
            "" if run is cold else f"[bold green]{cold.seconds / run.seconds:,.0f} x[/]",
        )
    return table


def size_table(sizes):
    """Return (name, remark, bytes) rows as a table, each compared with the first."""
    table = new_table("size", "", right=("bytes", "of the sources"))
    for name, remark, size in sizes:
        share = size / sizes[0][2]
        table.add_row(name, f"[dim]{remark}[/]", f"{size / 2**20:.2f} MiB", f"{share:.1%}")
    return table


def duration(seconds):
    """Return a duration with three figures and a fitting unit."""
    seconds = float(f"{seconds:.3g}")
    unit, factor = ("s", 1) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    return f"{seconds * factor:#.3g}".rstrip(".") + f" {unit}"


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


def show(console, folder):
    """Do the three runs in a folder and show what they did."""
    version = ".".join(map(str, sys.version_info[:3]))
    files = stdlib_files()
    console.print(
        f"[bold]Frys Cache[/]  summaries of the {len(files):,} modules "
        f"of CPython {version}'s standard library\n"
    )
    cache, opening = open_cache(folder)
    with cache:
        with progress_bar(console) as progress:
            cold, _ = ask_for_all("cold", cache, progress.track(files, description="cold"), opening)
        warm, answers = ask_for_all("warm", cache, files)
        in_memory = deep_size(*cache.keys(), *cache.values())
    on_disk = folder_size(folder)
    other, whole = ask_in_new_process(folder)

    console.print(run_table(cold, warm, other))
    console.print(
        f"From its start to its end, the new process took {duration(whole)}.", style="dim"
    )
    sizes = (
        ("sources", "all that was read", sum(path.stat().st_size for path in files)),
        ("summaries", "as JSON", len(json.dumps(answers))),
        ("in memory", "keys and summaries, as objects", in_memory),
        ("on disk", "all files of the cache", on_disk),
    )
    console.print(size_table(sizes))
    if not cold.digest == warm.digest == other.digest:
        sys.exit(f"The runs did not get the same answers: {cold}, {warm}, {other}")
    console.print(
        f"All answers agree: {sum(len(one['functions']) for one in answers):,} functions,"
        f" {sum(len(one['classes']) for one in answers):,} classes"
        f" in {sum(one['lines'] for one in answers):,} lines.",
        style="dim",
    )


def stop(signum, frame):
    """End the program at the first Ctrl-C; the next ones do not keep it from tidying up."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    sys.exit(128 + signum)


def main():
    """Show the runs, in a folder that is gone afterwards."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, stop)
    with tempfile.TemporaryDirectory(prefix="frys-demo-") as folder:
        show(Console(highlight=False), Path(folder))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        be_the_new_process(Path(sys.argv[1]))
    else:
        main()
