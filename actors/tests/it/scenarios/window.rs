//! The replay window: records for clients that resume (P2).

use std::sync::Arc;

use serde_json::json;
use talus_actors::domain::{ids::Seq, limits::Limits, session::Rules, testing::harness::Harness};

use super::{
    case::{free_session, harness},
    commands::{batch, root, set},
};

/// Returns the first `seq` of each record after `seq`, or `None` if the window does not reach back.
fn since(harness: &Harness, seq: u64) -> Option<Vec<u64>> {
    let records = harness.session().since(Seq(seq))?;
    Some(records.map(|recorded| recorded.first_seq.0).collect())
}

fn windowed(replay_window_events: usize, commands: usize) -> Harness {
    let rules = Rules {
        blueprint: None,
        limits: Arc::new(Limits {
            replay_window_events,
            ..Limits::default()
        }),
    };
    let sets: Vec<_> = (0..commands).map(|number| set("a", "x", json!(number))).collect();
    harness(&rules, &[vec![root("a")], sets].concat())
}

/// P2: the window returns the records with the events after a `seq`, also within a record, and none if nothing was
/// missed.
#[test]
fn window_returns_missed_records() {
    let harness = free_session(&[
        root("a"),
        batch([set("a", "x", json!(1)), set("a", "y", json!(1))]),
        root("b"),
    ]);
    assert_eq!(since(&harness, 0), Some(vec![1, 3, 6]));
    assert_eq!(since(&harness, 1), Some(vec![1, 3, 6]), "the first begins before it");
    assert_eq!(since(&harness, 2), Some(vec![3, 6]));
    assert_eq!(since(&harness, 4), Some(vec![3, 6]), "within a batch");
    assert_eq!(since(&harness, 5), Some(vec![6]));
    assert_eq!(since(&harness, 7), Some(vec![]));
}

/// A `seq` beyond the last one is out of reach.
#[test]
fn window_rejects_future_seq() {
    for harness in [free_session(&[]), free_session(&[root("a")])] {
        let seq = harness.session().seq().0;
        assert_eq!(since(&harness, seq), Some(vec![]));
        for ahead in [seq + 1, seq + 1_000, u64::MAX - 1, u64::MAX] {
            assert_eq!(since(&harness, ahead), None, "{ahead}");
        }
    }
}

/// P9: the window keeps whole records up to its limit of events. A `seq` before them is out of reach (P2).
#[test]
fn window_is_bounded_in_events() {
    let harness = windowed(10, 20);
    assert_eq!(harness.session().seq(), Seq(42));
    assert_eq!(since(&harness, 31), None);
    assert_eq!(since(&harness, 32), Some(vec![33, 35, 37, 39, 41]));
    let odd = windowed(9, 20);
    assert_eq!(since(&odd, 33), None, "half a record is none");
    assert_eq!(since(&odd, 34), Some(vec![35, 37, 39, 41]));
}

/// P9: the window keeps at most its limit of bytes, however few the events. A `seq` before them is out of reach (P2).
#[test]
fn window_is_bounded_in_bytes() {
    const BYTES_MAX: usize = 64 * 1024;
    let rules = Rules {
        blueprint: None,
        limits: Arc::new(Limits {
            replay_window_bytes_max: BYTES_MAX,
            ..Limits::default()
        }),
    };
    let text = |number: usize| json!(format!("{number}{}", "x".repeat(10_000)));
    let sets: Vec<_> = (0..20).map(|number| set("a", "x", text(number))).collect();
    let mut harness = harness(&rules, &[vec![root("a")], sets].concat());
    assert_eq!(harness.session().seq(), Seq(42));
    // Each record contains the previous and the new value: three records take 60,000 bytes, four take 80,000.
    assert!(harness.session().window_bytes() <= BYTES_MAX);
    assert_eq!(since(&harness, 36), Some(vec![37, 39, 41]));
    assert_eq!(since(&harness, 35), None);
    let before: Vec<_> = (0..=42).map(|seq| since(&harness, seq)).collect();
    harness.restart().expect("its own log");
    let after: Vec<_> = (0..=42).map(|seq| since(&harness, seq)).collect();
    assert_eq!(before, after, "after a replay it reaches as far");
    // The latest record is kept even beyond the limit of bytes.
    let sets: Vec<_> = (0..8)
        .map(|number| set("a", &format!("y{number}"), text(number)))
        .collect();
    harness.submit(&batch(sets)).expect("accepted");
    assert_eq!(since(&harness, 42), Some(vec![43]));
    assert!(harness.session().window_bytes() > BYTES_MAX);
    harness.submit(&set("a", "z", json!(1))).expect("accepted");
    assert!(harness.session().window_bytes() <= BYTES_MAX);
}

/// The latest record is kept whole even beyond the limit of events.
#[test]
fn window_keeps_latest_record() {
    let mut harness = windowed(1, 3);
    assert_eq!(since(&harness, 6), Some(vec![7]));
    let sets: Vec<_> = (0..50).map(|number| set("a", "y", json!(number))).collect();
    harness.submit(&batch(sets)).expect("accepted");
    assert_eq!(since(&harness, 8), Some(vec![9]));
    assert_eq!(since(&harness, 7), None);
}

/// A replay restores the same window.
#[test]
fn replay_restores_window() {
    let mut harness = windowed(10, 20);
    let before: Vec<_> = (0..=42).map(|seq| since(&harness, seq)).collect();
    harness.restart().expect("its own log");
    let after: Vec<_> = (0..=42).map(|seq| since(&harness, seq)).collect();
    assert_eq!(before, after);
}
