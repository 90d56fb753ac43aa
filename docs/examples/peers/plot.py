#!/usr/bin/env python3
"""Draws what compare.py measured: docs/images/performance-*.svg. The same reports make the same files.

    python3 -m venv .venv && .venv/bin/pip install matplotlib
    .venv/bin/python docs/examples/peers/plot.py [--json DIRECTORY] [--images DIRECTORY] [--write PAGE]

Each value is the median of the rounds.
"""

import argparse
import io
import logging
import os
import pathlib
import re

from matplotlib import pyplot, ticker

import compare
import tables

INK, SOFT, FAINT = "#1f2933", "#616e7c", "#d9dee3"

COLOURS = {
    "hub": "#1f5fa8",
    "hub, in memory": "#7fb2e5",
    "hub, realtime off": "#0f2f57",
    "hub, 64 at a time": "#5b4b9a",
    "bare": "#7b8794",
    "bare, one emit": "#b8c0c8",
    "node": "#d9822b",
}

# What stands in the panel of another workload, and what it is called there.
BESIDE = {"batched": ("burst", "batched"), "size-10": ("size", "10 nodes"), "size-100000": ("size", "100,000 nodes")}

# What bears the title, a line below it, and what is drawn, in inches.
TITLE, MARGIN = 0.62, 0.12

LOOK = {
    # The first is what texts are measured with, the next is as wide; the letters come from whoever looks.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "talus-hub",
}


def figure(title, below, height, rows=1, columns=1):
    drawing, axes = pyplot.subplots(rows, columns, figsize=(9, height), squeeze=False, layout="constrained")
    drawing.get_layout_engine().set(rect=(0.01, 0.01, 0.98, 1 - TITLE / height), wspace=0.06, hspace=0.06)
    drawing.text(MARGIN / 9, 1 - 0.13 / height, title, size=13, weight="bold", va="top")
    drawing.text(MARGIN / 9, 1 - 0.38 / height, below, size=9, color=SOFT, va="top")
    return drawing, axes


def plain(value):
    """Three digits of it at most, where it has no more: 1,234; 12.3; 0.12."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def logarithmic(axis, ticks=None):
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_locator(ticker.NullLocator())
    if ticks:
        axis.set_major_locator(ticker.FixedLocator(ticks))


def loaded(panel):
    """What a workload is, in a few words."""
    first = next(name for name in compare.WORKLOADS if BESIDE.get(name, (name,))[0] == panel)
    options = compare.WORKLOADS[first].options.split()
    given = dict(zip(options[::2], options[1::2], strict=True))
    rate = f"{int(given['--rate']):,}/s" if "--rate" in given else f"{given['--closed']} under way in each"
    return f"{given['--sessions']} × {given['--sockets']} sockets, {rate}"


def measured(reports, *columns, piled_up=True):
    """The workloads outside of series with those columns of their servers, as far as there are any."""
    found = {}
    for name, workload in compare.WORKLOADS.items():
        if name.split("-")[0] in compare.SERIES or (workload.piles_up and not piled_up):
            continue
        panel, note = BESIDE.get(name, (name, None))
        for server in workload.servers:
            values = [reports.median(name, server, it) for it in columns]
            if None not in values:
                found.setdefault(panel, []).append((server, f"{server}, {note}" if note else server, *values))
    return found


def bars(reports, column, title, below):
    """A panel for each workload, each with a scale of its own: what is compared is servers."""
    panels = measured(reports, column)
    if not panels:
        return None
    across = 3
    groups = [list(panels.items())[at : at + across] for at in range(0, len(panels), across)]
    heights = [max(len(rows) for _, rows in group) for group in groups]
    drawing, axes = figure(title, below, TITLE + sum(0.2 * it + 0.42 for it in heights), len(groups), across)
    axes[0][0].get_gridspec().set_height_ratios([it + 1 for it in heights])
    for row, group, height in zip(axes, groups, heights, strict=True):
        for at, axis in enumerate(row):
            axis.set_axis_off()
            if at >= len(group):
                continue
            name, rows = group[at]
            most = max(value for *_, value in rows)
            for place, (server, label, value) in enumerate(rows):
                axis.barh(place, value, color=COLOURS[server], height=0.78)
                axis.text(-0.03 * most, place, label, ha="right", va="center", size=8.5, color=SOFT)
                axis.text(value + 0.02 * most, place, plain(value), va="center", size=8.5)
            # Bars of all panels are equally thick, and begin where the names of their servers end.
            axis.set(xlim=(-0.75 * most, 1.25 * most), ylim=(height - 0.4, -0.6))
            axis.set_title(name)
            axis.set_title(loaded(name), loc="right", size=8, weight="normal", color=SOFT)
    return drawing


def latency(reports):
    """A line for each cell, from the median to the 99th percentile."""
    panels = measured(reports, "event p50 ms", "event p99 ms", piled_up=False)
    if not panels:
        return None
    count = sum(len(rows) + 1.5 for rows in panels.values())
    below = "ms from the intended start to the event at every socket: the median ●, and what 99 of 100 stay below ○"
    drawing, axes = figure("Latency", below, TITLE + 0.4 + 0.155 * count)
    axis, place, drawn = axes[0][0], 0, []
    for name, rows in panels.items():
        axis.text(0, place, name, weight="bold", va="center", transform=axis.get_yaxis_transform())
        drawn += [(place + at, *row) for at, row in enumerate(rows, 1)]
        place += len(rows) + 1.5
    places, servers, labels, p50, p99 = zip(*drawn, strict=True)
    colours = [COLOURS[server] for server in servers]
    axis.hlines(places, p50, p99, colours, linewidth=1.6)
    axis.scatter(p50, places, 26, colours, zorder=3)
    axis.scatter(p99, places, 26, "white", edgecolors=colours, zorder=3)
    axis.set_xscale("log")
    logarithmic(axis.xaxis)
    axis.set_yticks(places, labels, size=8.5)
    axis.set(ylim=(place - 0.9, -0.8))
    axis.grid(axis="y", visible=False)
    axis.spines[["left", "bottom"]].set_visible(False)
    return drawing


def lines(axis, reports, name, column, style="-", **look):
    """One line for each server of a series."""
    for server in compare.WORKLOADS[f"{name}-{compare.SERIES[name][0]}"].servers:
        points = [(at, reports.median(f"{name}-{at}", server, column)) for at in compare.SERIES[name]]
        points = [(at, value) for at, value in points if value is not None]
        if points:
            label = look.get("label", "{}").format(server)
            axis.plot(*zip(*points, strict=True), style, marker="o", color=COLOURS[server], label=label)
    axis.set_xscale("log")
    logarithmic(axis.xaxis, compare.SERIES[name])


def sockets(reports):
    below = "µs on the server for a packet to one socket, by the sockets of the session; less is better"
    drawing, ((axis,),) = figure("What a delivery costs", below, 3.6)
    lines(axis, reports, "sockets", "CPU µs/delivery")
    if not axis.lines:
        return None
    axis.set_yscale("log")
    logarithmic(axis.yaxis, [digit * 10.0**power for power in range(-1, 4) for digit in (1, 2, 5)])
    axis.set_xlabel("sockets in the session")
    axis.legend()
    return drawing


def sweep(reports):
    below = "20 sessions of a socket each; commands start on time, whether or not the server keeps up"
    drawing, ((carried, late),) = figure("Throughput and latency by offered load", below, 3.9, columns=2)
    lines(carried, reports, "sweep", "commands/s")
    if not carried.lines:
        return None
    rates = compare.SERIES["sweep"]
    carried.plot(rates, rates, ":", color=SOFT, linewidth=1.2, label="as offered")
    carried.set_yscale("log")
    logarithmic(carried.yaxis, rates)
    carried.set_title("commands/s carried out")
    lines(late, reports, "sweep", "event p50 ms", label="{}, median")
    lines(late, reports, "sweep", "event p99 ms", "--", label="{}, 99 of 100")
    late.set_yscale("log")
    logarithmic(late.yaxis)
    late.set_title("ms to the event at the socket")
    for axis in (carried, late):
        axis.set_xlabel("commands/s offered")
        axis.tick_params(axis="x", labelsize=8)
        axis.legend(fontsize=8.5)
    return drawing


PLOTS = {
    "cpu-per-command": lambda reports: bars(
        reports,
        "CPU µs/command",
        "Processor time for a command",
        "µs on the server, with all deliveries of the command; less is better; each panel has its own scale",
    ),
    "commands-per-cpu-second": lambda reports: bars(
        reports,
        "commands/CPU s",
        "Commands for a second of processor time",
        "with all deliveries of the commands; more is better; each panel has its own scale",
    ),
    "latency": latency,
    "cpu-per-delivery": sockets,
    "sweep": sweep,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=pathlib.Path, default=compare.RELEASE / "compare", help="where the reports are")
    parser.add_argument("--images", type=pathlib.Path, default=compare.ROOT / "docs" / "images")
    parser.add_argument("--write", type=pathlib.Path, metavar="PAGE", help="replace the pictures in this page, too")
    options = parser.parse_args()
    options.images.mkdir(parents=True, exist_ok=True)
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    pyplot.rcParams.update(LOOK)
    shown = []
    for name, draw in PLOTS.items():
        drawing = draw(tables.Reports(options.json))
        if drawing is None:
            print(f"{name}: there are no reports")
            continue
        file = options.images / f"performance-{name}.svg"
        text = io.StringIO()
        drawing.savefig(text, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
        # A third of it is indentation.
        file.write_text(re.sub(r"\n\s+", "\n", text.getvalue()))
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB")
        shown.append((drawing.texts[0].get_text(), file))
    if options.write:
        page = options.write.resolve().parent
        links = [f"![{title}]({os.path.relpath(file.resolve(), page)})\n" for title, file in shown]
        tables.write(options.write, {"plots": "\n".join(links)})


if __name__ == "__main__":
    main()
