//! Time to encode packets: `cargo bench --bench encode -- [filter]`. A packet is encoded once, for any number of
//! sockets.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use talus_actors::{
    domain::{
        command::{Command, CreateNode},
        ids::NodeId,
        state_hash::StateHash,
        testing::{harness::Harness, sample::Setting},
        value::Value,
    },
    fan_out::{CommandNotice, Encoder as _, Sync, SyncContent, SyncReason, Verdict},
};
use talus_hub::wire::room::{ClientLimits, WireEncoder, room_of};
use uuid::Uuid;

const ENCODER: WireEncoder = WireEncoder {
    reconnect_ms: (500, 5_000),
    limits: ClientLimits::DEFAULT,
};
const BATCH: u128 = 100;
const NODES: [u128; 2] = [10, 1_000];

fn create(number: u128) -> Command {
    let id = |number| NodeId::new(Uuid::from_u128(number));
    Command::CreateNode(CreateNode {
        node_type: "task".into(),
        name: Some("A task like others".into()),
        parent_id: number.checked_sub(1).map(|before| id(before / 10 + 1)),
        index: None,
        properties: [("estimate".into(), Value::text("about a day"))].into(),
        node_id: Some(id(number + 1)),
    })
}

/// Returns the notice that a room gets of a harness's last command.
fn last(harness: &Harness) -> CommandNotice {
    let record = harness.log().last().expect("the harness has a record");
    CommandNotice {
        command_id: record.command_id,
        command_type: record.command_type,
        author: record.author.clone(),
        timestamp: record.timestamp,
        verdict: Verdict::Applied(record.clone()),
    }
}

fn commands(criterion: &mut Criterion) {
    let update = Command::UpdateProperty {
        node_id: NodeId::new(Uuid::from_u128(1)),
        property: "description".into(),
        new_value: Value::text("What this task is about, in a line of text like those that people write"),
    };
    let batch = Command::Batch {
        commands: (1..=BATCH).map(create).collect(),
    };
    let mut harness = Setting::Free.harness();
    let room = room_of(harness.session().header());
    let mut group = criterion.benchmark_group("encode");
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for (name, command) in [
        ("CreateNode", create(0)),
        ("UpdateProperty", update),
        ("Batch of 100", batch),
    ] {
        harness.submit(&command).expect("accepted");
        let notice = last(&harness);
        group.bench_function(name, |bencher| {
            bencher.iter(|| ENCODER.command(&room, black_box(&notice)));
        });
    }
    group.finish();
}

fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode_snapshot");
    group
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for nodes in NODES {
        let mut harness = Setting::Free.harness();
        let commands = (0..nodes).map(create).collect();
        harness.submit(&Command::Batch { commands }).expect("accepted");
        let session = harness.session();
        let room = room_of(session.header());
        let sync = Sync {
            seq: session.seq(),
            state_hash: StateHash::default(),
            reason: SyncReason::FirstJoin,
            content: SyncContent::Snapshot(session.document().clone()),
            undo_available: true,
            redo_available: false,
            timestamp: session.last_activity(),
        };
        group.bench_function(BenchmarkId::from_parameter(nodes), |bencher| {
            bencher.iter(|| ENCODER.sync_body(&room, black_box(&sync)));
        });
    }
    group.finish();
}

criterion_group!(benches, commands, snapshots);
criterion_main!(benches);
