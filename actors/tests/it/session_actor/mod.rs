//! One session: what it lets out and when, in which order, and to whom.

mod durability;
mod failing_appends;
mod groups;
mod joining;
mod long_ago;
mod reading;
mod saving;
