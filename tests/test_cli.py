"""The `frys` command: what it reads, says, draws and refuses; run as its users run it."""

import gzip
import io
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib  # noqa: ICN001
import numpy  # noqa: ICN001
import pytest
import zstandard
from rich.console import Console

import frys_cache
from frys_cache import FrysCache, simulate
from frys_cache.cli.command import main
from frys_cache.cli.study import KNEE, BadSizes, ladder, parse_sizes
from frys_cache.cli.traces import BadTrace, read
from frys_cache.simulation import SIMULATED

assert matplotlib
PACKAGE_HOME = str(Path(frys_cache.__file__).parents[1])


def keys_of_a_trace(count=4_000, keys=500):
    """Return numbers of keys of which few are popular."""
    chance = random.Random(5)
    return numbered(int(chance.paretovariate(0.7)) % keys for _ in range(count))


def numbered(keys):
    """Return numbers for keys, in the order in which they first come, as the command has them."""
    numbers = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


KEYS = keys_of_a_trace()
SIZES = [(key * 37) % 900 + 1 for key in KEYS]


def packed(content, how):
    """Return bytes as a .gz or .zst has them."""
    if how == ".gz":
        return gzip.compress(content)
    return zstandard.ZstdCompressor().compress(content) if how == ".zst" else content


def as_npy(numbers, dtype):
    """Return the content of a .npy."""
    out = io.BytesIO()
    numpy.save(out, numpy.array(numbers, dtype=dtype))
    return out.getvalue()


CONTENTS = {
    ".txt": "".join(f"page {key}\n" for key in KEYS).encode(),
    ".csv": "".join(
        f'"page, {key}",{size}\r\n' for key, size in zip(KEYS, SIZES, strict=True)
    ).encode(),
    ".npy": as_npy(KEYS, "<u4"),
}


def frys(*arguments, folder=None, **options):
    """Run the command in an interpreter of its own; return the CompletedProcess with text."""
    path = [PACKAGE_HOME, *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-P", "-m", "frys_cache.cli", *map(str, arguments)],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def figures(path, *arguments):
    """Return what --json says of one trace."""
    done = frys("simulate", path, "--json", "-", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (trace,) = json.loads(done.stdout)["traces"]
    return trace


def hits_of(trace):
    """Return the hits by policy and size."""
    return {(found["policy"], found["size"]): found["hits"] for found in trace["results"]}


@pytest.fixture
def trace(tmp_path):
    """Write a text trace; return its path."""
    path = tmp_path / "trace.txt"
    path.write_bytes(CONTENTS[".txt"])
    return path


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("how", ["", ".gz", ".zst"])
def test_every_kind_of_file_gives_the_same_hits(kind, how, tmp_path):
    """Catch a format that is read with a request too many, too few, or wrong."""
    path = tmp_path / f"trace{kind}{how}"
    path.write_bytes(packed(CONTENTS[kind], how))
    source = read(str(path), in_bytes=False)
    assert (len(source.trace), source.whole) == (len(KEYS), len(set(KEYS)))
    for policy in (*SIMULATED, "opt"):
        expected = simulate(KEYS, policy=policy, max_entries=40).hits
        assert source.trace.simulate(policy, 40).hits == expected


def test_figures_are_those_of_the_engine(trace):
    """Catch a result that stands under another policy or size."""
    found = figures(trace, "--sizes", "7,10%,1k", "--policies", ",".join(SIMULATED))
    unique = len(set(KEYS))
    assert (found["requests"], found["keys"], found["whole"]) == (len(KEYS), unique, unique)
    assert found["unit"] == "entries"
    sizes = [7, round(unique / 10), 1000]
    assert hits_of(found) == {
        (policy, size): simulate(KEYS, policy=policy, max_entries=size).hits
        for policy in (*SIMULATED, "opt")
        for size in sizes
    }
    for result in found["results"]:
        by_engine = simulate(KEYS, policy=result["policy"], max_entries=result["size"])
        assert result["evictions"] == by_engine.evictions
        assert result["misses"] == by_engine.misses
        assert result["hit_ratio"] == by_engine.hit_ratio
        assert result["byte_hit_ratio"] is None
    for size, ratio in found["lru_curve"]:
        assert ratio == simulate(KEYS, policy="lru", max_entries=size).hit_ratio
    assert len(found["lru_curve"]) > 50


def test_figures_by_bytes_are_those_of_the_engine(tmp_path):
    """Catch sizes that are not read, or belong to another request."""
    path = tmp_path / "trace.csv"
    path.write_bytes(CONTENTS[".csv"])
    found = figures(path, "--bytes", "--sizes", "2K,50%")
    whole = sum(dict(zip(KEYS, SIZES, strict=True)).values())
    assert (found["unit"], found["whole"]) == ("bytes", whole)
    for result in found["results"]:
        by_engine = simulate(
            KEYS, policy=result["policy"], sizes=SIZES, max_size_bytes=result["size"]
        )
        assert result["hits"] == by_engine.hits
        assert result["byte_hit_ratio"] == by_engine.byte_hit_ratio
    assert {result["size"] for result in found["results"]} == {2048, round(whole / 2)}


@pytest.mark.parametrize("how", ["", ".zst", ".gz"])
def test_sizes_beside_a_npy_are_read(how, tmp_path):
    """Catch a companion that is not found, and is not complained of."""
    path = tmp_path / "trace.npy"
    path.write_bytes(CONTENTS[".npy"])
    companion = tmp_path / f"trace.sizes.npy{how}"
    companion.write_bytes(packed(as_npy(SIZES, "<u4"), how))
    assert read(str(path), in_bytes=True).trace.total_size == sum(SIZES)
    assert read(str(path), in_bytes=False).trace.total_size is None


def test_recorded_traffic_is_simulated(tmp_path):
    """Catch a recording that its own simulator does not read, or reads otherwise."""
    cache = FrysCache(60, policy="lru")
    with cache.record(tmp_path / "mine.npy"):
        for key in KEYS:
            if cache.get(key) is None:
                cache[key] = True
    found = figures(tmp_path / "mine.npy", "--sizes", "60", "--policies", "lru")
    assert hits_of(found)["lru", 60] == cache.stats().hits


def test_default_sizes_double_up_to_all(trace):
    """Catch a ladder without its ends."""
    unique = len(set(KEYS))
    sizes = sorted({result["size"] for result in figures(trace)["results"]})
    assert sizes == ladder(unique)
    assert sizes[-1] == unique
    assert len(ladder(10**6)) == 11
    assert ladder(10**6)[0] == 977
    assert ladder(1) == [1]


@pytest.mark.parametrize(
    ("text", "in_bytes", "expected"),
    [
        ("5", False, [5]),
        ("10k, 5,2M,5", False, [5, 10_000, 2_000_000]),
        ("1_000,.5%,50%", False, [10, 1_000]),
        ("0.0001%", False, [1]),
        ("1K,2m,1G,10B,3KiB,1MB", True, [10, 1024, 3072, 2**20, 2 * 2**20, 2**30]),
        ("1.5k", True, [1536]),
        ("0", False, None),
        ("-5", False, None),
        ("", False, None),
        ("5,,6", False, None),
        ("ten", False, None),
        ("5kB", False, None),
        ("5%k", False, None),
        ("nan", False, None),
        ("9999999t", True, None),
    ],
)
def test_sizes_mean_what_they_say(text, in_bytes, expected):
    """Catch a suffix that multiplies wrongly, or nonsense that is taken."""
    if expected is None:
        with pytest.raises(BadSizes, match=r"no size: .*; sizes are positive, like"):
            parse_sizes(text, 2_000, in_bytes)
    elif "50%" in text:
        assert parse_sizes(text, 2_000, in_bytes) == [10, 1_000]
    else:
        assert parse_sizes(text, 2_000, in_bytes) == expected


def test_table_is_plain_and_narrow_in_a_pipe(trace):
    """Catch colours in a pipe, a line over 80 columns, and a table with other figures."""
    done = frys("simulate", trace)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "\x1b" not in done.stdout
    assert max(map(len, lines)) <= 80
    assert lines[0] == f"{trace}: 4,000 requests, {len(set(KEYS))} keys" or len(str(trace)) > 45
    head = next(line.split() for line in lines if line.split()[:1] == ["size"])
    assert head == ["size", *SIMULATED, "opt"]  # with the share of all it would be too wide
    for size in ladder(len(set(KEYS))):
        cells = next(line.split() for line in lines if line.split()[:1] == [f"{size:,}"])
        ratios = [simulate(KEYS, policy=policy, max_entries=size).hit_ratio for policy in SIMULATED]
        shown = [float(cell.rstrip("*")) for cell in cells[1:]]
        assert shown[:-1] == [float(f"{100 * ratio:.1f}") for ratio in ratios]
        best = max(shown[:-1])
        starred = {cell.rstrip("*") for cell in cells[1:] if cell.endswith("*")}
        assert starred == (set() if min(shown[:-1]) == best else {f"{best:.1f}"})


def test_advice_follows_its_rule(tmp_path):
    """Catch advice that is not the favourite, not at the knee, or says a wrong doubling."""
    # 90 keys in a loop, and 10 that come at every other request.
    keys = numbered(key for n in range(2_000) for key in (100 + n % 10, n % 90))
    path = tmp_path / "loop.txt"
    path.write_text("".join(f"{key}\n" for key in keys))
    found = figures(path, "--sizes", "5,10,20,40,80,160", "--policies", "lru,slru")
    means = {
        policy: sum(
            simulate(keys, policy=policy, max_entries=size).hit_ratio
            for size in (5, 10, 20, 40, 80, 160)
        )
        / 6
        for policy in ("lru", "slru")
    }
    advice = found["advice"]
    assert advice["policy"] == max(means, key=means.get)
    assert {policy: found["means"][policy] for policy in means} == pytest.approx(means)

    def ratio(size, policy=advice["policy"]):
        return simulate(keys, policy=policy, max_entries=size).hit_ratio

    chosen = advice["size"]
    assert all(ratio(2 * size) - ratio(size) < KNEE for size in (80, 160, 40) if size >= chosen)
    before = [size for size in (5, 10, 20, 40, 80, 160) if 2 * size == chosen]
    assert ratio(chosen) - ratio(before[0]) >= KNEE
    assert advice["hit_ratio"] == ratio(chosen)
    assert advice["opt_hit_ratio"] == ratio(chosen, "opt")
    assert (advice["doubled_size"], advice["doubled_hit_ratio"]) == (2 * chosen, ratio(2 * chosen))
    text = frys("simulate", path, "--sizes", "5,10,20,40", "--policies", "slru").stdout
    last = " ".join(text.split("\n\n")[-1].split())
    assert re.fullmatch(
        r"slru with 20 entries: \d+\.\d % of requests hit \(OPT \d+\.\d %\); "
        r"doubling to 40 would bring \d+\.\d points?\.",
        last,
    )


def test_trace_without_repetition_is_told_so(tmp_path):
    """Catch a division by nothing, or advice to buy memory for nothing."""
    path = tmp_path / "once.txt"
    path.write_text("".join(f"{number}\n" for number in range(100)))
    done = frys("simulate", path)
    assert done.returncode == 0
    assert "nothing would be gained by a cache" in " ".join(done.stdout.split())
    path.write_text("one\n")
    assert frys("simulate", path, "--plot", tmp_path / "one.png").returncode == 0


def test_several_traces_have_a_section_each_and_a_mean(tmp_path, trace):
    """Catch a trace that is left out, and means that are not those of the traces."""
    other = tmp_path / "other.npy"
    other.write_bytes(as_npy(KEYS[::-1], "<i8"))
    done = frys("simulate", trace, other, "--sizes", "1%,10%", "--json", tmp_path / "f.json")
    assert done.returncode == 0
    assert str(trace) in done.stdout
    assert str(other) in done.stdout
    traces = json.loads((tmp_path / "f.json").read_text())["traces"]
    assert [found["trace"] for found in traces] == [str(trace), str(other)]
    tail = done.stdout.partition("Mean over 2 traces")[2].split()
    for policy in (*SIMULATED, "opt"):
        mean = sum(found["means"][policy] for found in traces) / 2
        assert tail[tail.index(policy) + 1].rstrip("*") == f"{100 * mean:.1f}"


def test_opt_is_left_out_when_asked(trace):
    """Catch OPT in a table that should not have it, and a missing ceiling that breaks the rest."""
    done = frys("simulate", trace.name, "--no-opt", "--plot", "plot.svg", folder=trace.parent)
    assert done.returncode == 0
    assert "opt" not in done.stdout.lower()


def test_standard_input_is_read():
    """Catch - that is taken for a file."""
    done = frys("simulate", "-", "--sizes", "2", "--policies", "lru", input="a\nb\na\n")
    assert done.returncode == 0
    assert "3 requests, 2 keys" in done.stdout


# ---- plots -------------------------------------------------------------------------------------


def test_plot_png_is_a_picture_of_its_size(trace):
    """Catch an empty file, another format, or one too coarse to print."""
    path = trace.with_suffix(".png")
    assert frys("simulate", trace, "--plot", path).returncode == 0
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (1920, 1080)
    assert b"pHYs" in data
    assert int.from_bytes(data[data.index(b"pHYs") + 4 :][:4], "big") == round(200 / 0.0254)


@pytest.mark.parametrize("form", [".svg", ".html"])
def test_plot_as_text_is_the_same_each_time_and_needs_no_other_file(form, trace, tmp_path):
    """Catch a page that loads something, and a date or random ids in a file that is committed."""
    paths = [tmp_path / f"{name}{form}" for name in "ab"]
    for path in paths:
        assert frys("simulate", trace, "--plot", path).returncode == 0
    first, second = (path.read_text() for path in paths)
    assert first == second
    svg = first[first.index("<svg") : first.index("</svg>") + 6]
    assert ET.fromstring(svg).tag.endswith("svg")
    if form == ".html":
        loaded = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", first)
        assert all(target.startswith("#") for target in loaded)
        assert set(re.findall(r"https?://[^\"<\s]+", first)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }
        assert f"4,000 requests, {len(set(KEYS))} keys" in first
        assert " % of requests hit" in first
        assert first.count("<tr>") == 1 + len(ladder(len(set(KEYS))))


def test_plot_of_a_strange_name_is_escaped(tmp_path):
    """Catch a name that becomes part of the page, or is taken for a formula."""
    path = tmp_path / "<script>alert(1)<$x^2$&.txt"
    path.write_text("a\nb\na\n")
    for form in (".html", ".png", ".svg"):
        done = frys("simulate", path, "--plot", tmp_path / f"plot{form}")
        assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "plot.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


# ---- what is refused ---------------------------------------------------------------------------

NPY = CONTENTS[".npy"]
BAD = [
    ("empty.txt", b"", "empty.txt: no requests"),
    ("gap.txt", b"a\nb\n\nc\n", "gap.txt:3: empty line"),
    ("gap.txt", b"a\r\n\r\nb\r\n", "gap.txt:2: empty line"),
    ("end.txt", b"a\nb\n\n", "end.txt:3: empty line"),
    ("empty.csv", b"", "empty.csv: no requests"),
    ("head.csv", b"key,size\n", "head.csv: no requests"),
    ("one.csv", b"key,size\na,1\nb\n", "one.csv:3: 1 columns: there must be two, key and size"),
    ("three.csv", b"a,1\nb,2,3\n", "three.csv:2: 3 columns"),
    ("gap.csv", b"a,1\n\nb,2\n", "gap.csv:2: empty line"),
    ("less.csv", b"a,1\nb,-2\n", "less.csv:2: size -2 is negative"),
    ("less.csv", b"a,-1\n", "less.csv:1: size -1 is negative"),
    ("word.csv", b"a,1\nb,two\n", "word.csv:2: size 'two' is no whole number of bytes"),
    ("half.csv", b"a,1.5\n", "half.csv:1: size '1.5' is no whole number of bytes"),
    ("none.csv", b"a,\n", None),
    ("none.csv", b"a,1\nb,\n", "none.csv:2: size '' is no whole number"),
    ("huge.csv", b"a,1\nb,1" + b"0" * 18 + b"\n", "huge.csv:2: size 1000000000000000000 is 10**18"),
    ("open.csv", b'a,1\n"b,2\n', "open.csv:"),
    ("empty.npy", as_npy([], "<u4"), "empty.npy: no requests"),
    ("nothing.npy", b"", "nothing.npy: no whole .npy file"),
    ("short.npy", NPY[:-3], "short.npy: no whole .npy file"),
    ("head.npy", NPY[:50], "head.npy: no whole .npy file"),
    ("other.npy", b"PK\x03\x04" * 40, "other.npy: no whole .npy file"),
    ("flat.npy", as_npy(3, "<u4"), "there must be one dimension, and ints"),
    ("two.npy", as_npy([[1, 2], [3, 4]], "<u4"), "an array of 2 x 2 uint32: there must be one"),
    ("float.npy", as_npy([1.0, 2.0], "<f8"), "an array of 2 float64: there must be one"),
    ("objects.npy", as_npy([None, "a"], object), "objects.npy: no whole .npy file: Object arrays"),
    ("cut.txt.zst", packed(CONTENTS[".txt"], ".zst")[:-9], "cut.txt.zst: cut off or damaged"),
    ("cut.txt.gz", packed(CONTENTS[".txt"], ".gz")[:-9], "cut.txt.gz: cut off or damaged"),
    ("cut.npy.zst", packed(NPY, ".zst")[:-9], "cut.npy.zst: cut off or damaged"),
    ("empty.txt.zst", b"", "empty.txt.zst: cut off or damaged"),
    ("empty.txt.gz", b"", "empty.txt.gz: no requests"),
    ("plain.txt.zst", b"a\nb\n", "plain.txt.zst: cut off or damaged"),
    ("plain.txt.gz", b"a\nb\n", "plain.txt.gz: cut off or damaged"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD, ids=[case[0] for case in BAD])
def test_bad_trace_is_refused_by_its_line_and_nothing_is_written(
    name, content, message, tmp_path, trace, capsys
):
    """Catch a damaged trace that is simulated as far as it goes, or a file written for it."""
    bad = tmp_path / name
    bad.write_bytes(content)
    before = sorted(tmp_path.iterdir())
    outputs = ["--plot", str(tmp_path / "p.png"), "--json", str(tmp_path / "f.json")]
    status = main(["simulate", str(trace), str(bad), *outputs])
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert said.err.startswith("frys simulate: ")
    assert (message or "no requests") in said.err
    assert "Traceback" not in said.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (None, r"no sizes: there is no trace\.sizes\.npy beside it"),
        (as_npy(SIZES[:-1], "<u4"), "keys and sizes differ in length: 4000 and 3999"),
        (as_npy([*SIZES[:-1], -5], "<i8"), r"sizes\[3999\] must be 0 or more, not -5"),
        (as_npy([0] * len(SIZES), "<i8"), "every size is 0"),
        (as_npy(SIZES, "<f4"), r"trace\.sizes\.npy: an array of 4000 float32"),
        (as_npy(SIZES, "<u4")[:-1], r"trace\.sizes\.npy: no whole \.npy file"),
    ],
    ids=["none", "short", "negative", "zero", "float", "cut"],
)
def test_bad_sizes_beside_a_npy_are_refused(sizes, message, tmp_path):
    """Catch sizes that belong to other requests, or to none."""
    path = tmp_path / "trace.npy"
    path.write_bytes(NPY)
    if sizes is not None:
        path.with_suffix(".sizes.npy").write_bytes(sizes)
    with pytest.raises(BadTrace, match=message):
        read(str(path), in_bytes=True)


def test_bytes_of_a_trace_without_sizes_are_refused(trace):
    """Catch a bound by bytes of objects that have none."""
    done = frys("simulate", trace, "--bytes")
    assert done.returncode == 2
    assert "no sizes: --bytes needs" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["simulate"], "TRACE"),
        (["simulate", "no-such-file"], "no-such-file: No such file or directory"),
        (["simulate", "."], "Is a directory"),
        (["simulate", "t", "--policies", "mru"], "no policy 'mru'; there are lru, fifo"),
        (["simulate", "t", "--policies", "opt"], "name at least one besides opt"),
        (["simulate", "t", "--plot", "plot.gif"], "must end in .png, .svg, .html"),
        (["simulate", "t", "--plot", "no/folder/plot.png"], "cannot write 'no/folder/plot.png'"),
        (["simulate", "t", "--json", "no/folder/f.json"], "cannot write 'no/folder/f.json'"),
        (["simulate", "t", "--sizes", "many"], "no size: 'many'"),
    ],
    ids=str,
)
def test_bad_argument_is_refused_with_status_2(arguments, message, tmp_path):
    """Catch an argument that is taken silently, or a traceback in place of a message."""
    (tmp_path / "t").write_text("a\nb\na\n")
    done = frys(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_failed_write_leaves_the_old_file_and_no_half_one(trace, monkeypatch, capsys):
    """Catch a plot that is gone when the disk is full."""
    path = trace.with_suffix(".json")
    path.write_text("old")

    def full(self, data):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["simulate", str(trace), "--json", str(path)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert path.read_text() == "old"
    assert sorted(trace.parent.iterdir()) == [path, trace]


def test_help_shows_the_options_and_an_example():
    """Catch an option without a word of help."""
    for arguments in (["--help"], ["simulate", "--help"]):
        done = frys(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
    for option in ("--policies", "--sizes", "--bytes", "--plot", "--json", "--no-opt", "example:"):
        assert option in done.stdout
    assert "%%" not in done.stdout
    assert "from which on no doubling brings 5 points" in done.stdout


MISSING = """
import sys

class Blocks:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocks())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in {blocked!r} else real(name, *rest)
from frys_cache.cli import main
status = main(["simulate", sys.argv[1], "--plot", sys.argv[2]])
sys.exit(status)
"""


@pytest.mark.parametrize("blocked", [["numpy"], ["matplotlib", "rich"], ["zstandard"]], ids=str)
def test_without_the_extra_it_says_what_to_install(blocked, trace):
    """Catch an import that fails with a traceback, or too early even for --help."""
    path = [PACKAGE_HOME, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", MISSING.format(blocked=blocked), trace, trace.with_suffix(".png")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"frys simulate: {', '.join(blocked)} missing: pip install 'frys-cache[cli]'\n"
    )
    assert not trace.with_suffix(".png").exists()


def test_interrupt_ends_at_once_with_status_130(tmp_path):
    """Catch threads that run on after Ctrl-C, a traceback, or a file that is written anyway."""
    numbers = numpy.random.default_rng(1).integers(0, 300_000, 2_000_000)
    sizes = ",".join(str(size) for size in range(100_000, 300_000, 2_000))
    running = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "frys_cache.cli", "simulate", "-"),
            *("--sizes", sizes, "--plot", tmp_path / "plot.png"),
        ],
        env={**os.environ, "PYTHONPATH": PACKAGE_HOME},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    running.stdin.write(b"\n".join(b"%d" % number for number in numbers))
    running.stdin.close()  # all but the last bytes are read: it is at work
    running.stdin = None
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        running.communicate(timeout=1)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert time.monotonic() - begun < 10
    assert (running.returncode, out, err) == (130, b"", b"frys simulate: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_terminal_shows_colours(trace, monkeypatch):
    """Catch a highlight that nobody sees where it can be shown."""
    from frys_cache.cli import study, table

    source = read(str(trace), in_bytes=False)
    done = study.study(source, list(SIMULATED), ladder(source.whole), lambda count: None)
    out = io.StringIO()
    table.show(done, Console(file=out, force_terminal=True, color_system="standard", width=100))
    assert "\x1b[1;32m" in out.getvalue()


def test_progress_counts_every_request(trace):
    """Catch a bar that ends before or after its end."""
    from frys_cache.cli import study

    source = read(str(trace), in_bytes=False)
    heard = []
    sizes = [5, 50]
    study.study(source, ["lru", "fifo"], sizes, heard.append)
    runs = study.steps(source, ["lru", "fifo"], sizes)
    extra = 2 * len(source.trace)  # the doubled sizes of the favourite, where it is not lru
    assert runs <= sum(heard) <= runs + extra
    assert math.isclose(sum(heard) % len(source.trace), 0)


def test_results_are_never_written_over_a_trace_or_one_another(trace, tmp_path):
    """Catch a command that destroys what it has read, or all but one of its results."""
    before = trace.read_bytes()
    link = tmp_path / "link.txt"
    link.symlink_to(trace)
    html = tmp_path / "both.html"
    for arguments in (["--json", trace], ["--json", link], ["--plot", html, "--json", html]):
        done = frys("simulate", trace, *arguments)
        assert done.returncode == 2, done
        assert "name another file" in done.stderr
    assert trace.read_bytes() == before
    assert not html.exists()


def test_results_may_go_to_what_is_no_file(trace, tmp_path):
    """Catch a rename that puts a file in the place of a device."""
    assert frys("simulate", trace, "--quiet", "--json", "/dev/null").returncode == 0
    assert not Path("/dev/null").is_file()
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    assert frys("simulate", trace, "--quiet", "--json", link).returncode == 0
    assert link.is_symlink()
    assert json.loads(target.read_text())["traces"]


@pytest.mark.parametrize("header", ["{'descr': '<u8', 'fortran_order': False, 'shape': (9" * 2,
    "{'descr': '<u8', 'fortran_order': False, 'shape': (" + "9" * 15 + ",)}",
    "{'descr': '<u8', 'fortran_order': False, 'shape': (" + "9" * 30 + ",)}"])  # fmt: skip
def test_npy_with_a_damaged_header_is_a_bad_trace(header, tmp_path):
    """Catch a parser's own exception that reaches the user."""
    path = tmp_path / "damaged.npy"
    text = header.encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    done = frys("simulate", path)
    assert done.returncode == 2
    assert "no whole .npy file" in done.stderr
    assert "Traceback" not in done.stderr
