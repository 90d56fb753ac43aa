//! Parts of the generator: packets, command ids, order of events.

use std::time::Duration;

use clap::Parser as _;
use talus_load::{
    options::{Frames, Options},
    order::{Faults, Order},
    packet::{Event, Packet, join, split},
    ticket::Ticket,
};

#[test]
fn packets_are_read_for_a_listener() {
    let read = |text| Packet::read(text).expect(text);
    assert_eq!(
        read(r#"0{"sid":"abc","pingInterval":25000}"#),
        Packet::Open("abc".to_owned())
    );
    assert_eq!(read("1"), Packet::Close);
    assert_eq!(read("2"), Packet::Ping);
    assert_eq!(read(r#"40/graph,{"sid":"def"}"#), Packet::Connected);
    assert_eq!(
        read(r#"44/graph,{"message":"INVALID_SESSION"}"#),
        Packet::Refused("INVALID_SESSION".to_owned())
    );
    let event = r#"42/graph,["graph:node-created",{"command_id":"c","properties":{"seq":[1]},"seq":7}]"#;
    let expected = Event {
        name: "graph:node-created",
        seq: Some(7),
        command_id: Some("c"),
    };
    assert_eq!(read(event), Packet::Event(expected));
    assert_eq!(read("6"), Packet::Other);
    assert!(Packet::read("42/graph,[").is_err());
    assert_eq!(join("s", Frames::Single), r#"40/graph,{"session_id":"s"}"#);
    let batched = r#"40/graph,{"frames":"batched","session_id":"s"}"#;
    assert_eq!(join("s", Frames::Batched), batched);
    assert_eq!(split("2\u{1e}6").collect::<Vec<_>>(), ["2", "6"]);
}

/// A batched packet is read as its events, in their order. Events within a sync are not events of their own.
#[test]
fn batched_packet_is_read_as_its_events() {
    let event = |name, seq, command_id| Event { name, seq, command_id };
    let text = r#"42/graph,["session:events",{"session_id":"s","project_id":null,"epoch":"00000e0c","events":[
        {"event":"command:executing","data":{"command_id":"a","origin":{}}},
        {"event":"graph:node-created","data":{"command_id":"a","properties":{"seq":[1],"events":[2]},"seq":7}},
        {"event":"command:executed","data":{"command_id":"a","seq":8}},
        {"event":"command:executing","data":{"command_id":"b"}},
        {"event":"command:failed","data":{"command_id":"b","error":{"code":"CYCLE"}}}]}]"#;
    let expected = vec![
        event("command:executing", None, Some("a")),
        event("graph:node-created", Some(7), Some("a")),
        event("command:executed", Some(8), Some("a")),
        event("command:executing", None, Some("b")),
        event("command:failed", None, Some("b")),
    ];
    assert_eq!(Packet::read(text).expect(text), Packet::Events(expected));
    assert!(Packet::read(r#"42/graph,["session:events",{}]"#).is_err());
    let sync = r#"42/graph,["session:sync",{"seq":8,"events":[{"event":"command:executed","data":{"seq":8}}]}]"#;
    let expected = event("session:sync", Some(8), None);
    assert_eq!(Packet::read(sync).expect(sync), Packet::Event(expected));
}

#[test]
fn command_id_carries_index_and_start() {
    let ticket = Ticket {
        start: Duration::from_nanos(86_400_123_456_789),
        session: 4_095,
        index: (1 << 48) - 1,
    };
    for ticket in [
        ticket,
        Ticket {
            start: Duration::ZERO,
            session: 0,
            index: 0,
        },
    ] {
        let id = ticket.id(7);
        assert_eq!(id.get_version_num(), 4);
        assert_eq!(Ticket::read(&id.to_string(), 7), Some(ticket));
        assert_eq!(Ticket::read(&id.to_string(), 8), None, "of another run");
    }
    assert_eq!(Ticket::read("no id", 7), None);
}

/// Returns the faults of two commands, each with two `seq` after `seq` 10, for packets in a given order. A pair is the
/// index of the command and the `seq`; 0 is `command:executing`.
fn faults_of(places: &[(u64, u64)]) -> Faults {
    let mut order = Order::after(10);
    for &(index, seq) in places {
        match seq {
            0 => order.executing(index),
            _ => order.sequenced(index, seq),
        }
    }
    order.end(14, &[0, 1])
}

#[test]
fn events_in_order_are_no_fault() {
    assert_eq!(
        faults_of(&[(0, 0), (0, 11), (0, 12), (1, 0), (1, 13), (1, 14)]),
        Faults::default()
    );
}

#[test]
fn faults_are_distinguished() {
    let one = |lost, doubled, reordered| Faults {
        lost,
        doubled,
        reordered,
        strayed: 0,
    };
    for (case, places, faults) in [
        (
            "lost within",
            vec![(0, 0), (0, 11), (1, 0), (1, 13), (1, 14)],
            one(1, 0, 0),
        ),
        (
            "lost at the end",
            vec![(0, 0), (0, 11), (0, 12), (1, 0), (1, 13)],
            one(1, 0, 0),
        ),
        (
            "lost beginning",
            vec![(0, 0), (0, 11), (0, 12), (1, 13), (1, 14)],
            one(1, 0, 0),
        ),
        (
            "doubled",
            vec![(0, 0), (0, 11), (0, 11), (0, 12), (1, 0), (1, 13), (1, 14)],
            one(0, 1, 0),
        ),
        (
            "doubled beginning",
            vec![(0, 0), (0, 0), (0, 11), (0, 12), (1, 0), (1, 13), (1, 14)],
            one(0, 1, 0),
        ),
        (
            "swapped",
            vec![(0, 0), (0, 12), (0, 11), (1, 0), (1, 13), (1, 14)],
            one(0, 0, 1),
        ),
        (
            "late beginning",
            vec![(0, 11), (0, 0), (0, 12), (1, 0), (1, 13), (1, 14)],
            one(0, 0, 1),
        ),
        ("nothing at all", vec![], one(6, 0, 0)),
    ] {
        assert_eq!(faults_of(&places), faults, "{case}");
    }
}

/// An event that a sync replaces is not lost.
#[test]
fn events_replaced_by_a_sync_are_not_lost() {
    let mut order = Order::after(10);
    order.executing(0);
    order.sequenced(0, 12);
    order.synced(14);
    assert_eq!((order.last(), order.skipped()), (14, 3));
    assert_eq!(order.end(14, &[0, 1]), Faults::default());
}

#[test]
fn malformed_command_line_is_refused() {
    for line in [
        "--rate 10 --closed 1",
        "--rate 0",
        "--sessions 5000",
        "--transport pigeon",
        "--frames heaps",
        "--duration -1",
    ] {
        let parsed = Options::try_parse_from(format!("talus-load {line}").split_whitespace());
        assert!(parsed.is_err(), "{line}");
    }
}
