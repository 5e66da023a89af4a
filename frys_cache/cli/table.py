"""What the terminal shows: tables, one for each trace, and a sentence of advice."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from frys_cache.cli.study import KNEE, Study
from frys_cache.simulation import OPT

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["amount", "caption", "heading", "percent", "sentence", "share", "show", "show_means"]


def amount(size: int, in_bytes: bool) -> str:
    """Return a size as people write it.

    >>> amount(20_000, False), amount(3 * 2**20, True)
    ('20,000', '3.0 MiB')
    """
    if not in_bytes:
        return f"{size:,}"
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{size} B" if unit == "B" else f"{value:.{1 if value < 100 else 0}f} {unit}"


def percent(ratio: float) -> str:
    """Return a ratio in percent, with one digit after the point."""
    return f"{100 * ratio:.1f}"


def share(study: Study, size: int) -> str:
    """Return a size in percent of what the trace holds in all."""
    part = 100 * size / study.source.whole
    return f"{part:.3g}%" if part < 10 else f"{part:.0f}%"


def heading(study: Study) -> str:
    """Return what the trace is: requests and keys."""
    text = f"{len(study.source.trace):,} requests, {study.source.trace.unique:,} keys"
    if study.source.in_bytes:
        text += f", {amount(study.source.whole, True)} in all"
    return text


def caption(study: Study) -> str:
    """Return how to read the table."""
    text = "hits in % of the requests"
    if len(study.online) > 1:
        text += "; * best of its row"
    if OPT in study.policies:
        text += "; opt knows the future"
        text += ": a heuristic" if study.source.in_bytes else ""
    return text


def sentence(study: Study) -> str:
    """Return the advice in words."""
    advice, source = study.advice, study.source
    unit = "" if source.in_bytes else " entries" if advice.size > 1 else " entry"
    size = f"{amount(advice.size, source.in_bytes)}{unit}"
    opt = "" if advice.opt_hit_ratio is None else f" (OPT {percent(advice.opt_hit_ratio)} %)"
    if not any(result.hits for result in study.results.values()):
        return "No request of these caches finds its key: nothing would be gained by a cache."
    gain = advice.doubled_hit_ratio - advice.hit_ratio
    doubled = amount(2 * advice.size, source.in_bytes)
    text = f"{advice.policy} with {size}: {percent(advice.hit_ratio)} % of requests hit{opt}; "
    if advice.size >= source.whole:
        return text + "everything fits, and doubling it would bring nothing."
    points = "point" if f"{100 * gain:.1f}" == "1.0" else "points"
    return text + f"doubling to {doubled} would bring {100 * gain:.1f} {points}."


def make(study: Study, *, with_share: bool) -> Table:
    """Return the table."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    table.add_column("size", justify="right", no_wrap=True)
    if with_share:
        table.add_column("of all", justify="right", no_wrap=True, style="dim")
    for policy in study.policies:
        style = "dim" if policy == OPT else None
        table.add_column(policy, justify="right", no_wrap=True, style=style)
    for size in study.sizes:
        best = study.best_at(size)
        cells = [amount(size, study.source.in_bytes)]
        cells += [share(study, size)] if with_share else []
        for policy in study.policies:
            text = percent(study.ratio(policy, size))
            cells.append(f"[bold green]{text}*[/]" if policy in best else f"{text} ")
        table.add_row(*cells)
    return table


def show(study: Study, console: Console) -> None:
    """Print heading, table and sentence."""
    from rich.text import Text

    console.print(Text(f"{study.source.name}: {heading(study)}", style="bold"))
    console.print()
    table = make(study, with_share=True)
    if console.measure(table, options=console.options.update(width=1000)).maximum > console.width:
        table = make(study, with_share=False)
    console.print(table)
    console.print(Text(caption(study), style="dim"))
    console.print()
    console.print(Text(textwrap.fill(sentence(study), console.width)))


def show_means(studies: list[Study], console: Console) -> None:
    """Print the mean of each policy over all traces, each trace counted alike."""
    from rich.text import Text

    console.print(Text(f"Mean over {len(studies)} traces and all their sizes", style="bold"))
    console.print()
    policies = studies[0].policies
    means = {
        policy: sum(study.mean(policy) for study in studies) / len(studies) for policy in policies
    }
    online = [policy for policy in policies if policy != OPT]
    best = max(online, key=means.__getitem__)
    for policy in sorted(policies, key=means.__getitem__, reverse=True):
        mark = "*" if policy == best and len(online) > 1 else ""
        style = "bold green" if mark else "dim" if policy == OPT else ""
        console.print(Text(f"{policy:>10} {percent(means[policy]):>5}{mark}", style=style))


RULE = (
    "the policy with the best mean hit ratio over the sizes shown, at the smallest",
    f"of them from which on no doubling brings {100 * KNEE:.0f} points (% of requests) or more.",
)
