"""Plots: hit ratio over cache size, one line for each policy, OPT as the ceiling.

Colours are those of Okabe and Ito, which colour-blind people can tell apart, each with a marker of
its own.  The legend stands beside the curves, in their order, so that it hides none.
"""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from typing import Any

from frys_cache.cli.study import Study
from frys_cache.cli.table import amount, caption, heading, percent, sentence, share
from frys_cache.simulation import OPT

__all__ = ["FORMATS", "draw"]

FORMATS = (".png", ".svg", ".html")
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7F5AA2",
    "#8C564B",
    "#999933",
)
MARKERS = "os^Dv<>Pp"
MARGIN = 1.12  # by which the axis is longer than the sizes
ADVISED = "advised:\n"
INK, FAINT, SHADE = "#222222", "#6f6f6f", "#ececec"


def draw(studies: list[Study], form: str) -> bytes:
    """Return a plot of the studies, one below the other: the content of a .png, .svg or .html."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with mpl.rc_context({"svg.hashsalt": "frys", "font.size": 11, "font.family": "DejaVu Sans"}):
        layout = ConstrainedLayoutEngine(h_pad=0.14, w_pad=0.12, hspace=0.06)
        figure = Figure(figsize=(9.6, 5.4 * len(studies)), layout=layout)
        axes = figure.subplots(len(studies), 1, squeeze=False)[:, 0]
        for study, axis in zip(studies, axes, strict=True):
            draw_one(study, axis)
        out = io.BytesIO()
        if form == ".png":
            figure.savefig(out, format="png", dpi=200, metadata={"Software": None})
        else:
            figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return page(studies, out.getvalue().decode()) if form == ".html" else out.getvalue()


def draw_one(study: Study, axis: Any) -> None:
    """Draw one trace."""
    sizes = study.sizes
    if OPT in study.policies:
        ceiling = [100 * study.ratio(OPT, size) for size in sizes]
        wide = [sizes[0] / MARGIN, *sizes, sizes[-1] * MARGIN]
        axis.fill_between(
            wide, [ceiling[0], *ceiling, ceiling[-1]], 100, color=SHADE, linewidth=0, zorder=0
        )
        axis.plot(
            sizes, ceiling, color=INK, linestyle=(0, (5, 2)), linewidth=1.6, label="OPT", zorder=3
        )
    favourite = study.favourite
    for number, policy in enumerate(study.online):
        colour = COLOURS[number % len(COLOURS)]
        marker = MARKERS[number % len(MARKERS)]
        chosen = policy == favourite
        style = {"color": colour, "zorder": 5 if chosen else 4}
        width = 2.6 if chosen else 1.5
        ratios = [100 * study.ratio(policy, size) for size in sizes]
        if policy == "lru" and study.lru_curve:
            curve = [(size, 100 * ratio) for size, ratio in study.lru_curve if size <= sizes[-1]]
            axis.plot(*zip(*curve, strict=True), linewidth=width, **style)
            axis.plot(sizes, ratios, linestyle="", marker=marker, markersize=5, **style)
            axis.plot([], [], linewidth=width, marker=marker, markersize=5, label=policy, **style)
        else:
            axis.plot(
                sizes, ratios, linewidth=width, marker=marker, markersize=5, label=policy, **style
            )
    mark_advice(study, axis)
    dress(study, axis)


def mark_advice(study: Study, axis: Any) -> None:
    """Ring the advised point; the legend says what it is, where it hides nothing."""
    advice = study.advice
    unit = "" if study.source.in_bytes else " entries"
    text = f"{advice.policy}, {amount(advice.size, study.source.in_bytes)}{unit}"
    axis.plot(
        [advice.size], [100 * advice.hit_ratio], marker="o", markersize=13, color=INK,
        markerfacecolor="none", markeredgewidth=1.6, linestyle="", zorder=6, clip_on=False,
        label=f"{ADVISED}{text}\n{percent(advice.hit_ratio)} % hit",
    )  # fmt: skip


def dress(study: Study, axis: Any) -> None:
    """Title, axes and legend."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    in_bytes = study.source.in_bytes
    sizes = study.sizes
    axis.set_xscale("log", base=2 if in_bytes else 10)
    if len(sizes) > 1:
        axis.set_xlim(sizes[0] / MARGIN, sizes[-1] * MARGIN)
    axis.set_ylim(0, 100)
    axis.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: amount(round(x), in_bytes).replace(".0 ", " "))
    )
    axis.xaxis.set_minor_formatter(NullFormatter())
    if in_bytes:
        axis.xaxis.set_major_locator(LogLocator(base=2, numticks=8))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0f} %"))
    axis.set_xlabel("cache size" if in_bytes else "cache size, entries", color=INK)
    axis.set_ylabel("requests that hit", color=INK)
    axis.set_title(
        Path(study.source.name).name,
        parse_math=False,
        loc="left",
        fontweight="bold",
        color=INK,
        fontsize=13,
        pad=26,
    )
    axis.text(0, 1.025, heading(study), transform=axis.transAxes, color=FAINT, fontsize=10)
    axis.grid(True, color="#d9d9d9", linewidth=0.7, zorder=1)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(FAINT)
    axis.tick_params(colors=INK, which="both")
    handles, labels = axis.get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    means = {label: study.mean(label.lower()) for label in labels if not label.startswith(ADVISED)}
    order = sorted(means, key=means.__getitem__, reverse=True)
    guess = " (heuristic)" if in_bytes else ""
    texts = [
        f"{label}{guess if label == 'OPT' else ''}  {percent(means[label])}" for label in order
    ]
    for label in labels:
        if label not in means:
            order.append(label)
            texts.append(label)
    axis.legend(
        [shown[label] for label in order], texts,
        loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, title="mean over sizes, %",
        alignment="left", borderaxespad=0, handlelength=2.4, labelspacing=0.6,
    )  # fmt: skip


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { text-align: right; padding: .15rem .7rem; }
thead th { border-bottom: 1px solid #999; }
td.best { font-weight: 700; color: #00663f; }
td.opt, caption { color: #666; }
caption { caption-side: bottom; text-align: left; padding: .4rem 0; }
.advice { font-size: 1.1rem; }
"""


def page(studies: list[Study], svg: str) -> bytes:
    """Return one file that needs no other: the plot, the tables and the sentences."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = svg.replace("<svg ", '<svg role="img" aria-label="Hit ratio over cache size" ', 1)
    names = ", ".join(study.source.name for study in studies)
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{html.escape(names)} - frys simulate</title><style>{STYLE}</style></head><body>",
        "<h1>Hit ratio over cache size</h1>",
        svg,
    ]
    for study in studies:
        parts.append(f"<h2>{html.escape(study.source.name)}</h2><p>{heading(study)}</p>")
        parts.append(f'<p class="advice">{html.escape(sentence(study))}</p>')
        parts.append(rows(study))
    return ("\n".join(parts) + "\n</body></html>\n").encode()


def rows(study: Study) -> str:
    """Return the table of a study."""
    head = "".join(f"<th>{policy}</th>" for policy in study.policies)
    lines = [
        f'<div class="scroll"><table><caption>{caption(study)}</caption>',
        f"<thead><tr><th>size</th><th>of all</th>{head}</tr></thead><tbody>",
    ]
    for size in study.sizes:
        best = study.best_at(size)
        cells = f"<td>{amount(size, study.source.in_bytes)}</td><td>{share(study, size)}</td>"
        for policy in study.policies:
            kind = "best" if policy in best else "opt" if policy == OPT else ""
            mark = "*" if policy in best else ""
            cells += f'<td class="{kind}">{percent(study.ratio(policy, size))}{mark}</td>'
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</tbody></table></div>")
    return "\n".join(lines)
