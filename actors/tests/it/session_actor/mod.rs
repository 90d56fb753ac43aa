//! Session actor: timing, order and receivers of its effects.

mod deduplication;
mod durability;
mod failing_appends;
mod groups;
mod joining;
mod reading;
mod saving;
