// A part of Talus Hub's contract on Node, as one would write it with express and socket.io: sessions, CreateNode and
// UpdateProperty over REST, the events of each command in order over Socket.IO. In memory; nothing survives it.

import { randomBytes, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import express from "express";
import { Server } from "socket.io";

const port = Number(process.env.PORT ?? 5055);
const sessions = new Map();

/** A refusal: what the client did wrong, and the status that says so. */
class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

class Session {
  id = randomUUID();
  epoch = randomBytes(4).toString("hex");
  seq = 0;
  roots = [];
  nodes = new Map();
  outcomes = new Map();
  sockets = 0;

  get room() {
    return `session_${this.id}`;
  }

  envelope() {
    return { session_id: this.id, project_id: null, timestamp: new Date().toISOString() };
  }

  node(id) {
    const node = this.nodes.get(id);
    if (!node) throw new Refusal(404, "NODE_NOT_FOUND", `node ${id} does not exist`);
    return node;
  }

  graph() {
    const tree = node => ({ ...node, children: node.children.map(tree) });
    return { roots: this.roots.map(tree) };
  }
}

// Each checks first and changes then: a refused command changes nothing.
const commands = {
  CreateNode(session, data) {
    const { blueprint_type_id, name = "New Node", parent_id = null, properties = {}, node_id = randomUUID() } = data;
    if (!blueprint_type_id) throw new Refusal(400, "INVALID_REQUEST", "blueprint_type_id is missing");
    if (session.nodes.has(node_id)) throw new Refusal(409, "NODE_EXISTS", `node ${node_id} exists already`);
    const siblings = parent_id === null ? session.roots : session.node(parent_id).children;
    const node = { id: node_id, name, blueprint_type_id, parent_id, properties, children: [] };
    session.nodes.set(node_id, node);
    const index = siblings.push(node) - 1;
    return ["graph:node-created", { node_id, name, blueprint_type_id, parent_id, index, properties }];
  },

  UpdateProperty(session, { node_id, property_id, new_value }) {
    if (new_value === undefined) throw new Refusal(400, "INVALID_REQUEST", "new_value is missing");
    const node = session.node(node_id);
    const owner = property_id === "name" ? node : node.properties;
    const old_value = owner[property_id] ?? null;
    owner[property_id] = new_value;
    return ["graph:property-changed", { node_id, property_id, old_value, new_value }];
  },
};

const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.use(express.json({ limit: "1mb" }));

app.post("/api/v1/sessions", (_request, response) => {
  const session = new Session();
  sessions.set(session.id, session);
  response.status(201).json({ session_id: session.id, epoch: session.epoch });
});

app.get("/api/v1/sessions/:id/graph", (request, response) => {
  const session = find(request.params.id);
  response.json({ session_id: session.id, epoch: session.epoch, seq: session.seq, graph: session.graph() });
});

app.post("/api/v1/commands/execute", (request, response) => {
  const { session_id, command_type, data = {}, command_id = randomUUID() } = request.body ?? {};
  const session = find(session_id);
  const before = session.outcomes.get(command_id);
  if (before) return response.json({ ...before, duplicate: true });
  if (!Object.hasOwn(commands, command_type)) throw new Refusal(400, "INVALID_COMMAND", `no command ${command_type}`);
  response.json(execute(session, command_type, data, command_id));
});

app.use((error, _request, response, _next) => {
  const { status = 500, code = status < 500 ? "INVALID_REQUEST" : "INTERNAL_ERROR", message } = error;
  if (status >= 500) console.error(error);
  response.status(status).json({ error: { code, message } });
});

const server = createServer(app);
server.keepAliveTimeout = 60_000;
const io = new Server(server, { serveClient: false, cors: { origin: /^http:\/\/(localhost|127\.0\.0\.1)(:\d+)?$/ } });
const graph = io.of("/graph");

function find(id) {
  const session = sessions.get(id);
  if (!session) throw new Refusal(404, "INVALID_SESSION", `session ${id} does not exist`);
  return session;
}

/** From here to its end nothing waits: no other command comes between, and rooms see the order of the sequence. */
function execute(session, command_type, data, command_id) {
  const room = graph.to(session.room);
  const envelope = { ...session.envelope(), command_id, origin: {} };
  room.emit("command:executing", { ...envelope, command_type });
  let event, change;
  try {
    [event, change] = commands[command_type](session, data);
  } catch (error) {
    room.emit("command:failed", { ...envelope, command_type, error: { code: error.code, message: error.message } });
    throw error;
  }
  const { epoch } = session;
  const { node_id } = change;
  const available = { undo_available: false, redo_available: false };
  const first_seq = ++session.seq;
  room.emit(event, { ...envelope, epoch, seq: first_seq, ...change });
  const seq = ++session.seq;
  room.emit("command:executed", { ...envelope, epoch, seq, command_type, result: { node_id }, ...available });
  const outcome = { success: true, command_id, epoch, seq, first_seq, node_id, ...available, is_dirty: true };
  session.outcomes.set(command_id, outcome);
  return outcome;
}

graph.use((socket, next) => {
  const id = socket.handshake.auth.session_id ?? socket.handshake.query.session_id;
  socket.data.session = sessions.get(id);
  next(socket.data.session ? undefined : new Error(id === undefined ? "MISSING_SESSION" : "INVALID_SESSION"));
});

graph.on("connection", socket => {
  const { session } = socket.data;
  const client = change => ({ ...session.envelope(), client_id: socket.id, client_count: (session.sockets += change) });
  const joined = client(1);
  const { epoch, seq } = session;
  socket.emit("session:sync", { ...joined, epoch, seq, reason: "first_join", graph: session.graph() });
  socket.join(session.room);
  graph.to(session.room).emit("session:connected", joined);
  socket.on("disconnect", reason => graph.to(session.room).emit("session:disconnected", { ...client(-1), reason }));
});

server.listen(port, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
