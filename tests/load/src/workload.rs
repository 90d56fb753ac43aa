//! Workload: a command is a function of the seed, the session and the index.

use serde_json::{Value, json};

use crate::ticket::Ticket;

/// Open session with its nodes in the order of their creation.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session_id: String,
    pub(crate) nodes: Vec<String>,
    /// Highest known sequence number.
    pub(crate) seq: u64,
}

/// Packets of a command that changes the graph: `command:executing`, its graph event, `command:executed`.
pub(crate) const PACKETS_PER_COMMAND: u64 = 3;

/// Builds the request body for a ticket. The value contains the index, so every command changes the graph.
pub(crate) fn command(seed: u64, creates: u8, opened: &Opened, ticket: Ticket) -> Value {
    let chance = mix(seed ^ (u64::from(ticket.session) << 48) ^ ticket.index);
    let node = &opened.nodes[at(chance >> 8, opened.nodes.len())];
    let (command_type, data) = if chance % 100 < u64::from(creates) {
        ("CreateNode", node_data(Some(node), ticket.index))
    } else {
        let value = format!("{} is what this task is about, in a line of text", ticket.index);
        let data = json!({"node_id": node, "property_id": "description", "new_value": value});
        ("UpdateProperty", data)
    };
    json!({
        "session_id": opened.session_id, "command_type": command_type, "data": data,
        "command_id": ticket.id(seed),
    })
}

/// Builds the data of a new node.
pub(crate) fn node_data(parent: Option<&str>, number: u64) -> Value {
    json!({"blueprint_type_id": "task", "parent_id": parent, "name": format!("task {number}")})
}

fn at(chance: u64, length: usize) -> usize {
    usize::try_from(chance % length as u64).unwrap_or_default()
}

/// SplitMix64, which maps consecutive numbers to uncorrelated values.
pub(crate) const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
