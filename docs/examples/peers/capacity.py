#!/usr/bin/env python3
"""Measures what a hub on this machine costs by the command, socket and session, and prints it as a table.

    docs/examples/peers/capacity.py [--seconds N] [--release DIRECTORY] [--write PAGE]

docs/PERFORMANCE.md says how to reckon with it. Six loads, one after another; the log is on the disk.
"""

import argparse
import json
import pathlib
import tempfile

import compare
import tables

# Enough of them to stand out of what the process needs anyway.
MANY = 1000


def run(options, load):
    """One load on a new hub: its report, and what is on the disk once the hub has ended."""
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        data, file = pathlib.Path(folder, "data"), pathlib.Path(folder, "report.json")
        data.mkdir()
        line = [options.release / "talus-load", "--json", file, "--creates", "0", *load.split()]
        compare.loaded(compare.hub, options.release, data, line)
        return json.loads(file.read_text()), sum(it.stat().st_size for it in data.rglob("*") if it.is_file())


def measured(options):
    """By name: the figure and its unit."""
    idle, busy = "--sockets 0 --rate 1 --warmup 0 --duration 2", f"--closed 3 --warmup 2 --duration {options.seconds}"
    # Little, and then more of one thing.
    little, _ = run(options, f"--sessions 1 {idle}")
    sessions, _ = run(options, f"--sessions {MANY} {idle}")
    sockets, _ = run(options, f"--sessions 1 --sockets {MANY} --rate 1 --warmup 0 --duration 2")
    # Few enough in each session that it keeps them all: limits.undo_depth_max, limits.replay_window_events.
    commands, _ = run(options, "--sessions 100 --sockets 0 --rate 4000 --warmup 0 --duration 10")
    alone, disk = run(options, f"--sessions 20 --sockets 1 {busy}")
    shared, _ = run(options, f"--sessions 20 --sockets 11 {busy}")

    def memory(more, less=0):
        return more["server"]["rss_kib"] - little["server"]["rss_kib"] - less

    session = memory(sessions) / (MANY - 1)
    command = memory(commands, 99 * session) / commands["commands"]["accepted"]
    alone_cpu, shared_cpu = (it["server"]["cpu_us_per_command"] for it in (alone, shared))
    socket_cpu = (shared_cpu - alone_cpu) / 10
    stored = alone["commands"]["accepted"] + alone["options"]["sessions"] * alone["options"]["nodes"]
    return {
        "`cpu_command`": (f"{alone_cpu - socket_cpu:.0f}", "µs"),
        "`cpu_socket`, of each command for each socket of its session": (f"{socket_cpu:.1f}", "µs"),
        "commands for one core, in sessions of one socket": (f"{1e6 / alone_cpu:,.0f}", "a second"),
        "`memory_hub`": (f"{little['server']['rss_kib'] / 1024:.0f}", "MiB"),
        "`memory_session`, of 10 nodes": (f"{session:.1f}", "KiB"),
        "`memory_socket`": (f"{memory(sockets) / MANY:.1f}", "KiB"),
        "`memory_command`, of each that its session keeps": (f"{command:.2f}", "KiB"),
        "`disk_command`": (f"{disk / stored:,.0f}", "bytes"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--release", type=pathlib.Path, default=compare.RELEASE, help="where the binaries are")
    parser.add_argument("--work", type=pathlib.Path, default=compare.RELEASE, help="where the log is meanwhile: a disk")
    parser.add_argument("--write", type=pathlib.Path, metavar="PAGE", help="replace the table in this page, too")
    options = parser.parse_args()
    text = tables.table(["what", "figure", "unit"], 1, [[name, *it] for name, it in measured(options).items()])
    print(text)
    if options.write:
        tables.write(options.write, {"capacity": text})


if __name__ == "__main__":
    main()
