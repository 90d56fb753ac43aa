"""What the reports of compare.py say: as Markdown, and put into a page of the documentation."""

import collections
import json
import re
import statistics


class Reports:
    """The reports in a folder: a file for each workload, server and round."""

    def __init__(self, folder):
        self.folder = folder

    def file(self, workload, server, number):
        server = server.replace(", ", "-").replace(" ", "-")
        return self.folder / f"{workload}.{server}.{number}.json"

    def of(self, workload, server):
        """By round."""
        files = self.folder.glob(self.file(workload, server, "*").name)
        numbered = sorted((int(file.name.split(".")[-2]), file) for file in files)
        return {number: json.loads(file.read_text()) for number, file in numbered}

    def forget(self, workload, server):
        for file in self.folder.glob(self.file(workload, server, "*").name):
            file.unlink()

    def is_faulty(self, cell):
        reports = self.of(*cell).values()
        return not reports or ("bare" not in cell[1] and any(map(faults, reports)))

    def median(self, workload, server, column):
        """Over the rounds; None if nothing was measured."""
        values = [COLUMNS[column].value(report) for report in self.of(workload, server).values()]
        values = [value for value in values if value is not None]
        return statistics.median(values) if values else None


def faults(report):
    return sum(report["faults"].values()) + len(report["deliveries"]["broken"]) + report["commands"]["unanswered"]


def per(what, counted):
    """Of nothing there is no price."""
    return lambda report: report["server"]["cpu_us_per_" + what] if report["throughput"][counted] else None


def per_cpu_second(report):
    cpu = report["server"]["cpu_seconds"]
    return report["throughput"]["commands"] / cpu if cpu else None


def ms(spread, part):
    """To the events that nobody heard there is no time."""

    def value(report):
        times = report["latency"][spread + "_us"]
        return times[part] / 1000 if times["count"] else None

    return value


Column = collections.namedtuple("Column", "value digits")

COLUMNS = {
    "commands/s": Column(lambda report: report["throughput"]["commands_per_second"], 0),
    "commands/CPU s": Column(per_cpu_second, 0),
    "event p50 ms": Column(ms("event", "p50"), 2),
    "event p99 ms": Column(ms("event", "p99"), 2),
    "event p99.9 ms": Column(ms("event", "p999"), 2),
    "answer p50 ms": Column(ms("answer", "p50"), 2),
    "sending p99 ms": Column(ms("sending", "p99"), 2),
    "CPU µs/command": Column(per("command", "commands"), 0),
    "CPU µs/delivery": Column(per("delivery", "deliveries"), 1),
    "RSS MiB": Column(lambda report: report["server"]["rss_kib"] / 1024, 0),
    "refused": Column(lambda report: sum(report["commands"]["refused"].values()), 0),
    "faults": Column(faults, 0),
}

# Of each two cells. Where no workloads are named: all that both servers have.
Ratio = collections.namedtuple("Ratio", "column above below workloads", defaults=[None])

BETWEEN_SERVERS = [
    Ratio("CPU µs/command", "hub", "bare, one emit"),
    Ratio("CPU µs/command", "hub", "bare"),
    Ratio("CPU µs/command", "hub", "hub, realtime off"),
    Ratio("CPU µs/delivery", "hub", "bare", ["crowd", "burst"]),
    Ratio("commands/CPU s", "hub", "node"),
    Ratio("event p99 ms", "hub", "bare"),
]
BETWEEN_WORKLOADS = [
    Ratio("CPU µs/command", "batched", "burst"),
    Ratio("CPU µs/delivery", "batched", "burst"),
    Ratio("CPU µs/command", "size-100000", "size-10"),
]


def shown(value, digits):
    return "–" if value is None else f"{value:.{digits}f}"


def table(head, names, rows):
    lines = [head, ["---"] * names + ["---:"] * (len(head) - names), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def compared(reports, cells):
    """Every column, the rounds of a cell side by side."""
    rows = []
    for workload, server in cells:
        if rounds := reports.of(workload, server).values():
            values = [[shown(it.value(report), it.digits) for report in rounds] for it in COLUMNS.values()]
            rows.append([workload, server, *map(" / ".join, values)])
    return table(["workload", "server", *COLUMNS], 2, rows)


def series(reports, cells):
    """The middle of the rounds."""
    rows = []
    for workload, server in cells:
        if reports.of(workload, server):
            values = [shown(reports.median(workload, server, name), it.digits) for name, it in COLUMNS.items()]
            rows.append([workload, server, *values])
    return table(["workload", "server", *COLUMNS], 2, rows)


def ratios(reports, cells):
    """Within each round, and the middle of those."""
    rows = []

    def add(column, what, where, above, below):
        above, below = reports.of(*above), reports.of(*below)
        pairs = [(COLUMNS[column].value(above[it]), COLUMNS[column].value(below[it])) for it in above if it in below]
        values = [one / other for one, other in pairs if one is not None and other]
        if values:
            each = " / ".join(shown(value, 2) for value in values)
            rows.append([column, what, where, shown(statistics.median(values), 2), each])

    workloads = list(dict.fromkeys(workload for workload, _ in cells))
    for column, above, below, names in BETWEEN_SERVERS:
        for name in names or workloads:
            if {(name, above), (name, below)} <= set(cells):
                add(column, f"{above} / {below}", name, (name, above), (name, below))
    for column, above, below, _ in BETWEEN_WORKLOADS:
        for server in dict.fromkeys(server for _, server in cells):
            if {(above, server), (below, server)} <= set(cells):
                add(column, f"{above} / {below}", server, (above, server), (below, server))
    return table(["of what", "ratio", "where", "median", "rounds"], 3, rows)


def per_socket(reports, cells):
    """What a delivery costs by itself: one more socket in a session, by what it is told of a command.

    Between two cells of the series, so that what the command costs anyway is in neither figure.
    """
    found = collections.defaultdict(dict)
    for workload, server in cells:
        for number, report in reports.of(workload, server).items():
            options, server_cpu = report["options"], report["server"]["cpu_us_per_command"]
            found[server, number][options["sockets"]] = (server_cpu, options["packets"])
    steps = collections.defaultdict(lambda: collections.defaultdict(dict))
    for (server, number), cpu in found.items():
        sizes = sorted(cpu)
        for few, many in zip(sizes, sizes[1:]):
            (below, _), (above, packets) = cpu[few], cpu[many]
            steps[few, many][server][number] = (above - below) / (many - few) / packets
    rows = []
    for (few, many), servers in sorted(steps.items()):
        for server, rounds in servers.items():
            floor = servers.get("bare", {})
            ratios = [shown(cost / floor[number], 2) for number, cost in rounds.items() if number in floor]
            costs = [shown(cost, 2) for cost in rounds.values()]
            rows.append([f"{few} to {many}", server, " / ".join(costs), " / ".join(ratios)])
    return table(["sockets", "server", "CPU µs/delivery of one more", "× bare"], 2, rows)


def texts(reports, cells, names):
    """Every table that has a row, by its name: of the workloads, of the ratios, of each series."""
    within = {name: [cell for cell in cells if cell[0].startswith(name + "-")] for name in names}
    others = [cell for cell in cells if not any(cell in it for it in within.values())]
    made = {"compare": compared(reports, others), "ratios": ratios(reports, others)}
    made |= {name: series(reports, it) for name, it in within.items()}
    made["per-socket"] = per_socket(reports, within.get("sockets", []))
    return {name: text for name, text in made.items() if text.count("\n") > 2}


def write(file, made):
    """Puts texts between the comments that bear their names."""
    page = file.read_text()
    for name, text in made.items():
        place = rf"(<!-- table: {name} -->\n).*?(<!-- /table -->)"
        page = re.sub(place, lambda found, text=text: f"{found[1]}\n{text}\n{found[2]}", page, flags=re.DOTALL)
    file.write_text(page)
