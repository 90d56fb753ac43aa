//! The hub from outside: real HTTP, real sockets, real files, a real process. One binary, since each costs a link.

mod documentation;
mod durability;
mod ops;
mod rest;
mod save_limit;
mod stream;
mod support;
mod tidy;
