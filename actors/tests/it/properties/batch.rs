//! Properties of batches: atomicity, and one step of undo (P5).

use proptest::{prelude::*, sample::Index};
use talus_actors::domain::{
    command::{Command, Scope},
    event::Event,
    ids::{CommandId, NodeId},
    rejection::Rejection,
    testing::{
        bench::{Accepted, Bench},
        plan::{Choice, Edit, edits, plan},
        sample::Setting,
    },
};
use uuid::Uuid;

/// Returns a session after a plan, and a batch that the session accepts.
fn given(setting: Setting, plan: &[Choice], edits: &[Edit]) -> (Bench, Vec<Command>) {
    let mut bench = setting.bench();
    for choice in plan {
        bench.run(choice);
    }
    let choice = Choice::Batch {
        edits: edits.to_vec(),
        keep_refused: false,
    };
    match choice.resolve(&bench).command {
        Command::Batch { commands } => (bench, commands),
        other => unreachable!("a batch became {other:?}"),
    }
}

/// Returns the same commands with explicit ids for all new nodes, as the batch derives them.
fn with_derived_ids(commands: &[Command], batch_id: CommandId) -> Vec<Command> {
    let mut ordinals = 0..;
    let named = |command: &Command| match command.clone() {
        Command::CreateNode(mut create) => {
            create.node_id = create
                .node_id
                .or_else(|| ordinals.next().map(|ordinal| batch_id.node(ordinal)));
            Command::CreateNode(create)
        }
        other => other,
    };
    commands.iter().map(named).collect()
}

proptest! {
    /// P5: a batch has the effect of its single commands, as one record and one step of undo.
    #[test]
    fn batch_equals_its_commands_in_one_step(
        setting in Setting::roomy(), plan in plan(0..20), edits in edits(0..12)
    ) {
        let (mut bench, commands) = given(setting, &plan, &edits);
        let (mut single, _) = given(setting, &plan, &edits);
        let batch_id = bench.next_context().command_id;
        let before = bench.session().document().clone();
        let (records, depth) = (bench.log().len(), bench.session().history().undo_depth());
        let mut events: Vec<Event> = Vec::new();
        for command in with_derived_ids(&commands, batch_id) {
            if let Accepted::Change(recorded) = single.submit(&command)? {
                events.extend(recorded.events.iter().cloned());
            }
        }
        match bench.submit(&Command::Batch { commands })? {
            Accepted::Change(recorded) => prop_assert_eq!(&recorded.events, &events),
            Accepted::Receipt(receipt) => {
                prop_assert!(events.is_empty());
                prop_assert_eq!(receipt.first_seq, None);
            }
        }
        prop_assert_eq!(bench.session().document(), single.session().document());
        if !events.is_empty() {
            prop_assert_eq!(bench.log().len(), records + 1);
            prop_assert_eq!(bench.session().history().undo_depth(), depth + 1);
            bench.submit(&Command::undo(Scope::Session))?;
            prop_assert_eq!(bench.session().document(), &before);
        }
    }

    /// P5: one refused command refuses its batch. The rejection names the command, and the session is unchanged.
    #[test]
    fn batch_is_refused_with_one_command(
        setting in Setting::roomy(), plan in plan(0..20), edits in edits(0..8), at in any::<Index>()
    ) {
        let (mut bench, mut commands) = given(setting, &plan, &edits);
        let index = at.index(commands.len() + 1);
        let unknown = NodeId::new(Uuid::from_u128(0xdead_beef));
        commands.insert(index, Command::DeleteNode { node_id: unknown });
        let before = bench.session().document().clone();
        let refused = bench.submit(&Command::Batch { commands });
        let expected = Rejection::InBatch { index, rejection: Box::new(Rejection::NodeNotFound(unknown)) };
        prop_assert_eq!(refused, Err(expected));
        prop_assert_eq!(bench.session().document(), &before);
        prop_assert!(&bench.replayed()? == bench.session());
    }
}
