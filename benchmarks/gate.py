"""Measure every speed and size the project promises, and fail when one is broken.

    python benchmarks/gate.py [--quick] [--only SUBSTRING] [--json FILE] [--ours NAME]

Each row is a ratio against a baseline measured in the same run (see timing.py), so it holds on any
machine.  `ratio` is the median with the quartiles of the rounds; a row is

    ok     the median keeps the bound
    near   the median does not, but the lower quartile does: inside the noise
    FAIL   not even the lower quartile does, also after measuring it twice more with more rounds
    -      no bound: reported only

The bounds hold on CPython 3.11; on other versions everything is reported and nothing fails.
"""

import argparse
import functools
import json
import os
import platform
import runpy
import sys
import sysconfig
import tempfile
import textwrap
import time
from dataclasses import asdict
from pathlib import Path

import figures
from contenders import contenders

CONSUMER = Path(__file__).parent.parent / "tests" / "consumer" / "build.py"
ROW = "{:<37}{:>10}{:>19}{:>20}{:>7}  {}"
EFFORTS = (1, 2, 3)  # of the first measurement and of the two a failing figure gets


def processor():
    """Return the name of the processor."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def conditions():
    """Return one line that says on what and with what the figures were measured."""
    optimized = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    build = "" if optimized else " (built without --enable-optimizations)"
    packages = {c.package: c.version for c in contenders().values() if c.package}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return f"{processor()}, {os.cpu_count()} cores; {python}{build}; {versions}"


def enforced():
    """Tell whether a broken bound fails: on the version the bounds were set for."""
    return sys.implementation.name == "cpython" and sys.version_info[:2] == (3, 11)


def verdict(figure, comparison):
    """Return "ok", "near", "FAIL" or "-"."""
    if figure.bound is None:
        return "-"
    limited = comparison.ratio if figure.unit == "x" else comparison.ours
    if limited.middle <= figure.bound:
        return "ok"
    return "near" if limited.low <= figure.bound else "FAIL"


def amount(value):
    """Format nanoseconds for the table."""
    return f"{value / 1e6:.2f} ms" if value >= 1e5 else f"{value:.1f} ns"


def row(figure, comparison, baseline, answer):
    """Return the figure as a line of the table."""
    ours, base, ratio = comparison.ours, comparison.base, comparison.ratio
    if figure.unit in ("B", "payload"):
        show = "{:.1f} B".format if figure.unit == "B" else "{:.2f} x".format
        spread = ""
    else:
        show = amount
        spread = f"{ours.low:.1f}-{ours.high:.1f} ns"
    if ratio is not None and figure.unit == "x":
        spread = f"{ratio.middle:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
    bound = "" if figure.bound is None else f"{figure.bound:g} {figure.unit}"
    bound = bound.replace("payload", "x")
    against = f"{baseline} {show(base.middle)}" if base else ""
    return ROW.format(figure.name, show(ours.middle), against, spread, bound, answer).rstrip()


def settle(figure, effort, say):
    """Measure one figure, again and longer while it fails.

    Return (comparison, baseline, verdict), or None when it cannot be measured here.
    """
    for again in EFFORTS:
        measured = figure.measure(effort * again)
        if measured is None:
            return None
        comparison, baseline = measured
        answer = verdict(figure, comparison)
        if answer != "FAIL" or not enforced():
            break
        if again != EFFORTS[-1]:
            say(f"  {row(figure, comparison, baseline, 'once more')}")
    return comparison, baseline, answer


def load_consumer(directory):
    """Return the module that times the C path, or None with a notice when it cannot be built."""
    try:
        return runpy.run_path(str(CONSUMER))["build"](directory)
    except ImportError as error:
        print(f"C path left out: {error}", file=sys.stderr)
        return None


def chosen(ours, only, directory):
    """Return the figures to measure, in the order of the table."""
    found = [*figures.speed_figures(ours), *figures.memoize_figures()]
    if ours == "FrysCache":
        found += figures.option_figures()
        found += figures.simulator_figures()
    if ours in ("FrysCache", "MemoryCache"):
        consumer = functools.cache(functools.partial(load_consumer, directory))
        found += figures.c_figures(ours, consumer)
    found += [*figures.peer_figures(ours), *figures.memory_figures(ours)]
    return [figure for figure in found if only in figure.name]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: an impression")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only rows named so")
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    parser.add_argument("--ours", default="FrysCache", help="another contender in our place")
    options = parser.parse_args()
    if options.ours not in contenders():
        parser.error(f"no such contender: {options.ours}; there are {', '.join(contenders())}")

    def say(line):
        print(line, flush=True)

    started = time.monotonic()
    for line in textwrap.wrap(conditions(), 99):
        say(line)
    say("")
    say(ROW.format("figure", options.ours, "against", "ratio (quartiles)", "bound", ""))
    say("-" * 99)
    results, failed = [], []
    with tempfile.TemporaryDirectory() as directory:
        for figure in chosen(options.ours, options.only, directory):
            settled = settle(figure, 1 / 3 if options.quick else 1, say)
            if settled is None:
                say(ROW.format(figure.name, "", "", "cannot be measured", "", "-"))
                continue
            comparison, baseline, answer = settled
            say(row(figure, comparison, baseline, answer))
            if answer == "FAIL":
                failed.append(figure.name)
            result = {"figure": figure.name, "bound": figure.bound, "unit": figure.unit}
            result |= {"baseline": baseline, "verdict": answer, **asdict(comparison)}
            results.append(result)
    say("-" * 99)
    if not results:
        say(f"no figure is named {options.only!r}")
    seconds = time.monotonic() - started
    say(f"{len(results)} figures in {seconds:.0f} s, {len(failed)} over the bound")
    if failed and not enforced():
        say("the bounds are those of CPython 3.11: nothing fails here")
    if options.json:
        report = {"conditions": conditions(), "ours": options.ours, "figures": results}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return 1 if failed and enforced() else 0


if __name__ == "__main__":
    sys.exit(main())
