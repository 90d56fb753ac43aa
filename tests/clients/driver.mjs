// Plays JavaScript clients for the tests: reads what to do as JSON lines, writes what happens as JSON lines.
//
// To do: {do: "connect", client, url, session_id, transports, path?, auth?, bare?, query?, headers?, tell_sent?, apart?},
// {do: "request", client, method, url, headers, body?}: an HTTPS request, told as "head", "chunk" for what comes, and "end".
// {do: "disconnect" | "reconnect" | "replica" | "spoil", client}, {do: "emit", client, event, data},
// {do: "ask", client, event, args: [[…arguments of an emit], …]}: all at once, each with an acknowledgement.
// What happens: {client, got: "connected" | "connect_error" | "event" | "disconnected" | "upgraded" | "sent" | "ack" | "replica"};
// of a client with a `hash_module`, which has a function `stateHash`, also "hash" after each sync and tick.

import { request as ask } from "node:https";
import { createInterface } from "node:readline";
import { io as connect } from "socket.io-client";

/** The ten-line client, word for word as README.md shows it, around a `load` and an `apply` of one's own. */
function tenLines(io, session_id, load, apply) {
  let pos = {};
  const socket = io("/graph", { auth: cb => cb({ session_id, ...pos }) });
  socket.on("session:sync", m => { m.graph ? load(m.graph) : m.events.forEach(e => e.data.seq > pos.seq && apply(e.event, e.data)); pos = { epoch: m.epoch, seq: m.seq }; });
  socket.on("session:tick", t => { if (t.seq > pos.seq) socket.emit("session:resync", pos); });
  socket.onAny((event, data) => { if (!data.seq || event.startsWith("session:")) return;
    if (data.seq === pos.seq + 1) { apply(event, data); pos.seq = data.seq; } else if (data.seq > pos.seq) socket.emit("session:resync", pos); });
  return { socket, position: () => pos };
}

/** A graph that is kept up to date by events alone. */
class Replica {
  load(graph) {
    this.roots = structuredClone(graph.roots);
    this.nodes = new Map();
    const add = node => { this.nodes.set(node.id, node); node.children.forEach(add); };
    this.roots.forEach(add);
  }

  apply(event, data) {
    const node = this.nodes.get(data.node_id ?? data.child_id);
    switch (event) {
      case "graph:node-created": {
        const { node_id: id, name, blueprint_type_id, parent_id, properties, metadata } = structuredClone(data);
        const created = { id, name, blueprint_type_id, parent_id, properties, children: [] };
        if (metadata !== undefined) created.metadata = metadata;
        this.nodes.set(id, created);
        this.siblings(parent_id).splice(data.index, 0, created);
        break;
      }
      case "graph:node-deleted": this.take(node); this.nodes.delete(node.id); break;
      case "graph:node-linked": this.take(node); this.put(node, data.parent_id, data.index); break;
      case "graph:node-unlinked": this.take(node); this.put(node, null, this.roots.length); break;
      case "graph:property-changed":
        if ((data.property_key ?? data.property_id) === "name") node.name = data.new_value;
        else node.properties[data.property_id] = structuredClone(data.new_value);
        break;
      case "graph:property-deleted": delete node.properties[data.property_id]; break;
      case "project:loaded": this.load(data.graph); break;
    }
  }

  siblings(parent_id) {
    return parent_id === null ? this.roots : this.nodes.get(parent_id).children;
  }

  take(node) {
    const siblings = this.siblings(node.parent_id);
    siblings.splice(siblings.indexOf(node), 1);
  }

  put(node, parent_id, index) {
    node.parent_id = parent_id;
    this.siblings(parent_id).splice(index, 0, node);
  }
}

const clients = new Map();
const tell = (client, got, more) => process.stdout.write(JSON.stringify({ client, got, ...more }) + "\n");

async function start({ client, url, session_id, transports, path, auth, bare, query, headers, tell_sent, apart, hash_module }) {
  // Before there is a socket: what comes while this waits would be missed.
  const { stateHash } = hash_module ? await import(hash_module) : {};
  const sent = (event, data) => tell_sent && tell(client, "sent", { event, data });
  // `io` as a page of the hub itself would have it, with what the test wants on top.
  const io = (namespace, { auth: own }) => connect(url + namespace, {
    transports, path, query, extraHeaders: headers, forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100,
    auth: cb => own(payload => { const data = bare ? auth : { ...payload, ...auth }; sent("(auth)", data); cb(data); }),
  });
  const replica = new Replica();
  const applied = [];
  const apply = (event, data) => { applied.push(data.seq); replica.apply(event, data); };
  const { socket, position } = tenLines(io, session_id, graph => replica.load(graph), apply);
  socket.onAnyOutgoing(sent);
  socket.onAny((event, data) => tell(client, "event", { event, data }));
  // What comes together is for everybody who listens as if it had come one by one.
  if (apart) socket.on("session:events", m => m.events.forEach(e => socket.listenersAny().forEach(hear => hear(e.event, e.data))));
  socket.io.on("open", () => socket.io.engine.on("upgrade", () => tell(client, "upgraded", { seq: position().seq })));
  socket.on("connect", () => tell(client, "connected", { transport: socket.io.engine.transport.name }));
  socket.on("connect_error", error => tell(client, "connect_error", { message: error.message, will_retry: socket.active }));
  socket.on("disconnect", reason => tell(client, "disconnected", { reason, will_retry: socket.active }));
  const compare = event => socket.on(event, ({ seq, state_hash }) =>
    tell(client, "hash", { event, seq, of_hub: state_hash, at: position().seq, of_replica: stateHash(replica) }));
  if (stateHash) ["session:sync", "session:tick"].forEach(compare);
  const spoil = () => { replica.roots[0].name += " by mistake"; };
  clients.set(client, { socket, spoil, state: () => ({ roots: replica.roots, applied, position: position() }) });
}

function request({ client, method, url, headers, body }) {
  const sent = ask(url, { method, headers, agent: false }, answer => {
    tell(client, "head", { status: answer.statusCode, headers: answer.headers });
    answer.setEncoding("utf8");
    answer.on("data", text => tell(client, "chunk", { text })).on("end", () => tell(client, "end", {}));
  });
  sent.on("error", error => tell(client, "failed", { message: error.message }));
  sent.end(body);
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const known = clients.get(order.client);
  switch (order.do) {
    case "connect": await start(order); break;
    case "request": request(order); break;
    case "disconnect": known.socket.disconnect(); break;
    case "reconnect": known.socket.connect(); break;
    case "emit": known.socket.emit(order.event, order.data); break;
    case "ask":
      order.args.forEach((args, index) => known.socket.emit(order.event, ...args, answer => tell(order.client, "ack", { index, answer })));
      break;
    case "spoil": known.spoil(); break;
    case "replica": tell(order.client, "replica", known.state()); break;
    default: throw new Error(`cannot ${order.do}`);
  }
}
process.exit(0);
