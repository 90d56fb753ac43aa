//! The hub from outside: real HTTP, real sockets, real files, a real process. One binary, since each costs a link.

mod clients;
mod rest;
mod support;
mod tidy;
