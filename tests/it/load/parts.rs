//! The parts of the generator by themselves: its packets, its ids, its bookkeeping.

use std::time::Duration;

use clap::Parser as _;
use talus_load::{
    options::{Frames, Options},
    order::{Faults, Order},
    packet::{Event, Packet, join, split},
    ticket::Ticket,
};

#[test]
fn packets_are_read_as_far_as_a_listener_needs() {
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

/// A packet of several events is read as these events, in their order; what a sync lists is no event of its own.
#[test]
fn events_that_come_together_are_told_apart() {
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
fn an_id_tells_which_command_it_is_and_when_it_was_to_start() {
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

/// Two commands, each with two places after place 10, told as a list of places says; 0 is the beginning of a command.
fn told(places: &[(u64, u64)]) -> Faults {
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
fn every_event_once_and_in_its_place_is_no_fault() {
    assert_eq!(
        told(&[(0, 0), (0, 11), (0, 12), (1, 0), (1, 13), (1, 14)]),
        Faults::default()
    );
}

#[test]
fn faults_are_told_apart() {
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
        assert_eq!(told(&places), faults, "{case}");
    }
}

/// A socket that is told that it missed something has not lost it.
#[test]
fn what_a_sync_replaces_is_not_lost() {
    let mut order = Order::after(10);
    order.executing(0);
    order.sequenced(0, 12);
    order.synced(14);
    assert_eq!((order.last(), order.skipped()), (14, 3));
    assert_eq!(order.end(14, &[0, 1]), Faults::default());
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
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
