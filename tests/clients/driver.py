"""Plays Python clients for the tests: reads what to do and writes what happens, in the JSON lines of driver.mjs."""

import asyncio
import copy
import json
import sys
import urllib.parse

import socketio
from engineio.payload import Payload

# Under load a poll is answered with more than the 16 packets that this client takes by default.
Payload.max_decode_packets = 10_000

NAMESPACE = "/graph"


class Replica:
    """A graph that is kept up to date by events alone."""

    def load(self, graph):
        self.roots = copy.deepcopy(graph["roots"])
        self.nodes = {}
        ahead = list(self.roots)
        while ahead:
            node = ahead.pop()
            self.nodes[node["id"]] = node
            ahead.extend(node["children"])

    def apply(self, event, data):
        node = self.nodes.get(data.get("node_id") or data.get("child_id"))
        match event:
            case "graph:node-created":
                kept = ("name", "blueprint_type_id", "parent_id", "properties", "metadata")
                node = {"id": data["node_id"], "children": []}
                node |= {key: copy.deepcopy(data[key]) for key in kept if key in data}
                self.nodes[node["id"]] = node
                self.siblings(node["parent_id"]).insert(data["index"], node)
            case "graph:node-deleted":
                self.siblings(node["parent_id"]).remove(node)
                del self.nodes[node["id"]]
            case "graph:node-linked":
                self.move(node, data["parent_id"], data["index"])
            case "graph:node-unlinked":
                self.move(node, None, len(self.roots))
            case "graph:property-changed":
                if data.get("property_key", data["property_id"]) == "name":
                    node["name"] = data["new_value"]
                else:
                    node["properties"][data["property_id"]] = data["new_value"]
            case "graph:property-deleted":
                del node["properties"][data["property_id"]]
            case "project:loaded":
                self.load(data["graph"])

    def siblings(self, parent_id):
        return self.roots if parent_id is None else self.nodes[parent_id]["children"]

    def move(self, node, parent_id, index):
        self.siblings(node["parent_id"]).remove(node)
        node["parent_id"] = parent_id
        self.siblings(parent_id).insert(index, node)


class Client:
    """One client: the ten lines of the JavaScript one, in Python."""

    def __init__(self, order):
        self.name = order["client"]
        self.order = order
        self.replica = Replica()
        self.position = {}
        self.applied = []
        # The factor is in seconds here, and would outweigh the delay.
        self.sio = socketio.AsyncClient(
            reconnection_delay=0.02, reconnection_delay_max=0.1, randomization_factor=0, handle_sigint=False
        )
        self.sio.on("connect", lambda: self.tell("connected", transport=self.sio.transport()), namespace=NAMESPACE)
        self.sio.on("connect_error", self.refused, namespace=NAMESPACE)
        self.sio.on("disconnect", lambda reason: self.tell("disconnected", reason=reason), namespace=NAMESPACE)
        # Not async: each message has a task of its own, and only what does not wait keeps their order.
        self.sio.on("*", self.receive, namespace=NAMESPACE)

    def tell(self, got, **more):
        print(json.dumps({"client": self.name, "got": got, **more}), flush=True)

    def auth(self):
        own = {"session_id": self.order["session_id"], **self.position}
        return self.order.get("auth") if self.order.get("bare") else own | self.order.get("auth", {})

    async def connect(self):
        query = urllib.parse.urlencode(self.order.get("query", {}))
        try:
            await self.sio.connect(
                f"{self.order['url']}?{query}",
                auth=self.auth,
                transports=self.order["transports"],
                headers=self.order.get("headers", {}),
                namespaces=[NAMESPACE],
                wait_timeout=10,
            )
        except socketio.exceptions.ConnectionError:
            pass  # The handler of connect_error has told it.

    def refused(self, error):
        self.tell("connect_error", message=error.get("message", "") if isinstance(error, dict) else str(error))

    def receive(self, event, data):
        self.tell("event", event=event, data=data)
        if event == "session:events" and self.order.get("apart"):
            for told in data["events"]:
                self.receive(told["event"], told["data"])
        elif event == "session:sync":
            if "graph" in data:
                self.replica.load(data["graph"])
            else:
                for missed in data["events"]:
                    if missed["data"]["seq"] > self.position["seq"]:
                        self.apply(missed["event"], missed["data"])
            self.position = {"epoch": data["epoch"], "seq": data["seq"]}
        elif not event.startswith("session:") and "seq" in data:
            if data["seq"] == self.position["seq"] + 1:
                self.apply(event, data)
                self.position["seq"] = data["seq"]
            elif data["seq"] > self.position["seq"]:
                self.emit("session:resync", self.position)

    def apply(self, event, data):
        self.applied.append(data["seq"])
        self.replica.apply(event, data)

    def emit(self, event, data):
        self.sio.start_background_task(self.sio.emit, event, data, namespace=NAMESPACE)

    def ask(self, event, asked):
        """Asks everything at once, each with an acknowledgement."""

        async def send():
            for index, args in enumerate(asked):
                await self.sio.emit(
                    event,
                    tuple(args) if args else None,
                    namespace=NAMESPACE,
                    callback=lambda answer, index=index: self.tell("ack", index=index, answer=answer),
                )

        self.sio.start_background_task(send)

    def obey(self, order):
        match order["do"]:
            case "connect" | "reconnect":
                self.sio.start_background_task(self.connect)
            case "disconnect":
                self.sio.start_background_task(self.sio.disconnect)
            case "emit":
                self.emit(order["event"], order["data"])
            case "ask":
                self.ask(order["event"], order["args"])
            case "replica":
                self.tell("replica", roots=self.replica.roots, applied=self.applied, position=self.position)


async def main():
    orders = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    clients = {}
    async for line in orders:
        order = json.loads(line)
        if order["do"] == "connect":
            clients[order["client"]] = Client(order)
        clients[order["client"]].obey(order)


asyncio.run(main())
