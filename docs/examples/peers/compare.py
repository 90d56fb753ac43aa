#!/usr/bin/env python3
"""Loads the hub and its peers, each alone and in turn, and prints a table.

Run it at the top of the repository, once everything is built (docs/PERFORMANCE.md says how):

    docs/examples/peers/compare.py [--rounds N] [--seconds N] [--json DIRECTORY] [--only-table] [workload ...]

The rounds of a cell stand side by side. Exit code 1: something was lost, doubled or out of place.
"""

import argparse
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
RELEASE = ROOT / "target" / "release"

WORKLOADS = {
    "one": "--sessions 1 --sockets 1 --closed 1",
    "teams": "--sessions 20 --sockets 5 --rate 200",
    "crowd": "--sessions 1 --sockets 100 --rate 50",
    "polling": "--sessions 20 --sockets 5 --rate 50 --transport polling",
}


def hub(data, storage="sqlite"):
    """The hub as it is shipped: its log is on the disk."""
    settings = {
        "TALUS_HUB_OPS__LISTEN": "127.0.0.1:0",
        "TALUS_HUB_LOG__LEVEL": "error",
        "TALUS_HUB_DATA__STORAGE": storage,
    }
    line = [RELEASE / "talus-hub", "--port", "0", "--data-dir", data]
    return subprocess.Popen(line, cwd=ROOT, env=os.environ | settings, stdout=subprocess.PIPE, text=True)


def forgetful(data):
    """The hub without a disk, which is what the peers are."""
    return hub(data, "memory")


def node(_data):
    """Node with express and socket.io, in memory."""
    settings = {"NODE_ENV": "production", "PORT": "0"}
    folder = ROOT / "docs" / "examples" / "peers" / "node"
    line = ["node", "server.mjs"]
    return subprocess.Popen(line, cwd=folder, env=os.environ | settings, stdout=subprocess.PIPE, text=True)


SERVERS = {"hub": hub, "hub, in memory": forgetful, "node": node}


def measure(server, workload, seconds, file):
    """One load on a server that was just started."""
    # Beside the binaries, since that is a disk; what the system calls temporary may be memory.
    with tempfile.TemporaryDirectory(dir=RELEASE) as data, SERVERS[server](data) as process:
        try:
            url = process.stdout.readline().split()[-1]
            load = [RELEASE / "talus-load", "--url", url, "--server-pid", str(process.pid), "--json", file]
            load += ["--duration", str(seconds), "--warmup", "3", *WORKLOADS[workload].split()]
            # Faults are its exit code and in its report; the other servers have their turn nevertheless.
            subprocess.run(load, check=False)
        finally:
            process.terminate()
            process.communicate()


def per(usage, what, digits):
    return lambda report: f"{report[usage]['cpu_us_per_' + what]:.{digits}f}"


def ms(spread, part):
    return lambda report: f"{report['latency'][spread + '_us'][part] / 1000:.2f}"


COLUMNS = {
    "commands/s": lambda report: f"{report['throughput']['commands_per_second']:.0f}",
    "event p50 ms": ms("event", "p50"),
    "event p99 ms": ms("event", "p99"),
    "answer p50 ms": ms("answer", "p50"),
    "sending p99 ms": ms("sending", "p99"),
    "CPU µs/command": per("server", "command", 0),
    "CPU µs/delivery": per("server", "delivery", 1),
    "RSS MiB": lambda report: f"{report['server']['rss_kib'] / 1024:.0f}",
    "faults": lambda report: str(sum(report["faults"].values()) + len(report["deliveries"]["broken"])),
}


def row(workload, server, files):
    reports = [json.loads(file.read_text()) for file in files]
    cells = [" / ".join(map(column, reports)) for column in COLUMNS.values()]
    return [workload, server, *cells]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--json", type=pathlib.Path, default=RELEASE / "compare")
    parser.add_argument("--only-table", action="store_true", help="of the reports that are there")
    parser.add_argument("workload", nargs="*", choices=[[], *WORKLOADS])
    options = parser.parse_args()
    options.json.mkdir(parents=True, exist_ok=True)
    workloads, rounds = options.workload or list(WORKLOADS), range(1, options.rounds + 1)

    def file(workload, server, number):
        return options.json / f"{workload}-{server.replace(', ', '-').replace(' ', '-')}-{number}.json"

    if not options.only_table:
        for workload, number, server in itertools.product(workloads, rounds, SERVERS):
            measure(server, workload, options.seconds, file(workload, server, number))
    rows = [row(w, s, [file(w, s, number) for number in rounds]) for w, s in itertools.product(workloads, SERVERS)]
    for line in [["workload", "server", *COLUMNS], ["---"] * 2 + ["---:"] * len(COLUMNS), *rows]:
        print("| " + " | ".join(line) + " |")
    return 1 if any(set(line[-1]) - set("0 /") for line in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
