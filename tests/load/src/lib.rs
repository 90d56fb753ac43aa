//! A load generator for any server that speaks the hub's contract: commands over REST, events over Socket.IO.
//!
//! It opens sessions, puts sockets into their rooms, sends commands, and watches what becomes of each of them at every
//! socket: when it arrived, and whether each event came once and in its place.
//!
//! ```text
//!  sender ── POST, the ticket is the command_id ──▶ server ──▶ socket ── reads the ticket ──▶ latency, order
//!    └──────────────── answer: seq ──────────────────┘
//! ```
//!
//! Nothing is shared between the two sides: the id of a command says when it was meant to start (see [`ticket`]).

pub mod connections;
pub mod options;
pub mod order;
pub mod packet;
mod process;
pub mod report;
mod run;
mod sender;
mod server;
mod socket;
pub mod ticket;
mod transport;
mod workload;

pub use run::run;
