//! Load generator for servers that implement the hub's contract: commands over REST, events over Socket.IO.
//!
//! The generator opens sessions, joins sockets to their rooms, sends commands, and checks the events of each command at
//! every socket: their latency, their number and their order.
//!
//! ```text
//!  sender ── POST, the ticket is the command_id ──▶ server ──▶ socket ── reads the ticket ──▶ latency, order
//!    └──────────────── answer: seq ──────────────────┘
//! ```
//!
//! Senders and sockets share no state: the id of a command contains its intended start (see [`ticket`]).

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
