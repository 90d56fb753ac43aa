#!/usr/bin/env python3
"""Loads the hub and its peers, each alone and in turn, and prints tables.

Run it at the top of the repository, once everything is built (docs/PERFORMANCE.md says how):

    docs/examples/peers/compare.py [--rounds N] [--seconds N] [--json DIRECTORY] [--write PAGE] [workload ...]

A workload is a name, or what several names begin with: `sweep` is `sweep-500` and all the others. The rounds of a
cell stand side by side. Exit code 1: something was lost, doubled or out of place (but by `bare`, which may lose), or a
report is missing.
"""

import argparse
import collections
import functools
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import tables

ROOT = pathlib.Path(__file__).resolve().parents[3]
RELEASE = ROOT / "target" / "release"


def hub(release, data, **settings):
    """The hub as it is shipped: its log is on the disk."""
    settings = {"OPS__LISTEN": "127.0.0.1:0", "LOG__LEVEL": "error", **settings}
    settings = {"TALUS_HUB_" + key: value for key, value in settings.items()}
    line = [release / "talus-hub", "--port", "0", "--data-dir", data]
    return subprocess.Popen(line, cwd=ROOT, env=os.environ | settings, stdout=subprocess.PIPE, text=True)


def bare(release, _data, packets=3):
    """The hub's libraries alone: parse, answer, emit."""
    line = [release / "talus-bare", "--port", "0", "--packets", str(packets)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)


def node(_release, _data):
    """Node with express and socket.io, in memory."""
    settings = {"NODE_ENV": "production", "PORT": "0"}
    folder = ROOT / "docs" / "examples" / "peers" / "node"
    line = ["node", "server.mjs"]
    return subprocess.Popen(line, cwd=folder, env=os.environ | settings, stdout=subprocess.PIPE, text=True)


SERVERS = {
    "hub": hub,
    "hub, in memory": functools.partial(hub, DATA__STORAGE="memory"),
    "hub, realtime off": functools.partial(hub, REALTIME__ENABLED="false"),
    "hub, 64 at a time": functools.partial(hub, LIMITS__IN_FLIGHT_MAX="64"),
    "bare": bare,
    "bare, one emit": functools.partial(bare, packets=1),
    "node": node,
}

# What the load generator has to know of a server.
KNOWN = {"bare, one emit": "--packets 1"}

# A load that piles up is a short one: what waits has to be worked off after it.
Workload = collections.namedtuple("Workload", "options servers piles_up", defaults=[False])

PEERS = ["hub", "hub, in memory", "bare", "bare, one emit", "node"]

WORKLOADS = {
    "one": Workload("--sessions 1 --sockets 1 --closed 1", PEERS),
    "teams": Workload("--sessions 20 --sockets 5 --rate 200", PEERS),
    "crowd": Workload("--sessions 1 --sockets 100 --rate 50", PEERS),
    "polling": Workload("--sessions 20 --sockets 5 --rate 50 --transport polling", PEERS),
    "busy": Workload("--sessions 20 --sockets 1 --closed 3", PEERS),
    "flood": Workload("--sessions 1 --sockets 1 --closed 32", PEERS),
    "quiet": Workload("--sessions 20 --sockets 0 --closed 3", ["hub", "hub, realtime off"]),
    "burst": Workload("--sessions 1 --sockets 100 --closed 32", PEERS),
    "batched": Workload("--sessions 1 --sockets 100 --closed 32 --frames batched", ["hub"]),
    "size-10": Workload("--sessions 1 --sockets 1 --closed 8 --creates 0 --nodes 10", ["hub"]),
    "size-100000": Workload("--sessions 1 --sockets 1 --closed 8 --creates 0 --nodes 100000", ["hub"]),
    "saturated": Workload("--sessions 20 --sockets 1 --rate 40000", ["hub", "hub, 64 at a time", "node"], True),
}

SERIES = {
    "sweep": (500, 1000, 2000, 4000, 8000, 16000, 32000),
    "sockets": (1, 10, 100, 1000),
}
for rate in SERIES["sweep"]:
    WORKLOADS[f"sweep-{rate}"] = Workload(f"--sessions 20 --sockets 1 --rate {rate}", ["hub", "node"], True)
for sockets in SERIES["sockets"]:
    options = f"--sessions 1 --sockets {sockets} --closed 4"
    WORKLOADS[f"sockets-{sockets}"] = Workload(options, ["hub", "bare", "node"])


def loaded(start, release, data, load):
    """One load on a server that was just started, and is stopped after it."""
    with start(release, data) as process:
        try:
            url = process.stdout.readline().split()[-1:] or sys.exit(f"does not start: {start}")
            # Faults are its exit code and in its report; the other servers have their turn nevertheless.
            subprocess.run([*load, "--url", *url, "--server-pid", str(process.pid)], check=False, stdout=sys.stderr)
        finally:
            process.terminate()
            process.communicate()


def measure(server, workload, options, file):
    seconds, warmup = (min(options.seconds, 3), 1) if workload.piles_up else (options.seconds, options.warmup)
    load = [options.release / "talus-load", "--json", file, "--duration", str(seconds), "--warmup", str(warmup)]
    load += [*workload.options.split(), *KNOWN.get(server, "").split()]
    # Beside the reports, since that is a disk; what the system calls temporary may be memory.
    with tempfile.TemporaryDirectory(dir=options.json) as data:
        loaded(SERVERS[server], options.release, data, load)


def wanted(options):
    """The workloads that were asked for, and that this load generator has the options for."""
    names = options.workload or list(WORKLOADS)
    chosen = {w: it for w, it in WORKLOADS.items() if any(w == name or w.startswith(name + "-") for name in names)}
    for name in names:
        if not any(w == name or w.startswith(name + "-") for w in WORKLOADS):
            sys.exit(f"there is no workload {name}: {', '.join(WORKLOADS)}")
    if options.only_table:
        return chosen
    asked = [options.release / "talus-load", "--help"]
    known = set(re.findall(r"--\w+", subprocess.run(asked, check=True, capture_output=True, text=True).stdout))
    for name, workload in list(chosen.items()):
        if missing := set(re.findall(r"--\w+", workload.options)) - known:
            print(f"{name} is left out: talus-load has no {' '.join(missing)}", file=sys.stderr)
            del chosen[name]
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--warmup", type=int, default=3, help="in seconds, too")
    parser.add_argument("--release", type=pathlib.Path, default=RELEASE, help="where the binaries are")
    parser.add_argument("--json", type=pathlib.Path, default=RELEASE / "compare", help="where the reports are")
    parser.add_argument("--only-table", action="store_true", help="of the reports that are there")
    parser.add_argument("--write", type=pathlib.Path, metavar="PAGE", help="replace the tables in this page, too")
    parser.add_argument("workload", nargs="*")
    options = parser.parse_args()
    options.json.mkdir(parents=True, exist_ok=True)
    workloads = wanted(options)
    reports = tables.Reports(options.json)
    cells = [(name, server) for name, workload in workloads.items() for server in workload.servers]

    if not options.only_table:
        for cell in cells:
            reports.forget(*cell)
        # What is compared is never far apart: a round has every workload, and a workload every server.
        for number in range(1, options.rounds + 1):
            for name, server in cells:
                print(f"round {number}: {name}, {server}", file=sys.stderr, flush=True)
                measure(server, workloads[name], options, reports.file(name, server, number))
    texts = tables.texts(reports, cells, SERIES)
    for text in texts.values():
        print(text)
    if options.write:
        tables.write(options.write, texts)
    return 1 if any(map(reports.is_faulty, cells)) else 0


if __name__ == "__main__":
    sys.exit(main())
