//! Session actor: timing, order and receivers of its effects.

mod durability;
mod failing_appends;
mod groups;
mod joining;
mod long_ago;
mod reading;
mod saving;
