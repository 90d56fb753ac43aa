//! The domain and its actors from outside. One binary, since each costs a link.

mod properties;
mod replica;
mod scenarios;
mod stored;
