//! The hub from outside: real HTTP, real sockets, real files, a real process. One binary, since each costs a link.

mod calls;
mod clients;
mod documentation;
mod durability;
mod ops;
mod rest;
mod rest_commands;
mod rest_errors;
mod rest_exactly_once;
mod rest_files;
mod rest_history;
mod rest_limits;
mod rest_numbers;
mod rest_open_dirty;
mod rest_operators;
mod rest_projects;
mod rest_reading;
mod rest_real_data;
mod rest_sessions;
mod rest_time;
mod save_limit;
mod stream;
mod support;
mod tidy;
