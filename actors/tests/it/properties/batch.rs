//! Properties of batches: atomicity, and one step of undo (P5).

use proptest::{prelude::*, sample::Index};
use talus_actors::domain::{
    command::{Command, Scope},
    event::Event,
    ids::{CommandId, NodeId},
    rejection::Rejection,
    testing::{
        harness::{Accepted, Harness},
        plan::{Choice, Edit, edits, plan},
        sample::Setting,
    },
};
use uuid::Uuid;

/// Returns a session after a plan, and a batch that the session accepts.
fn given(setting: Setting, plan: &[Choice], edits: &[Edit]) -> (Harness, Vec<Command>) {
    let mut harness = setting.harness();
    for choice in plan {
        harness.run(choice);
    }
    let choice = Choice::Batch {
        edits: edits.to_vec(),
        keep_refused: false,
    };
    match choice.resolve(&harness).command {
        Command::Batch { commands } => (harness, commands),
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
        let (mut harness, commands) = given(setting, &plan, &edits);
        let (mut single, _) = given(setting, &plan, &edits);
        let batch_id = harness.next_context().command_id;
        let before = harness.session().document().clone();
        let (records, depth) = (harness.log().len(), harness.session().history().undo_depth());
        let mut events: Vec<Event> = Vec::new();
        for command in with_derived_ids(&commands, batch_id) {
            if let Accepted::Change(recorded) = single.submit(&command)? {
                events.extend(recorded.events.iter().cloned());
            }
        }
        match harness.submit(&Command::Batch { commands })? {
            Accepted::Change(recorded) => prop_assert_eq!(&recorded.events, &events),
            Accepted::Receipt(receipt) => {
                prop_assert!(events.is_empty());
                prop_assert_eq!(receipt.first_seq, None);
            }
        }
        prop_assert_eq!(harness.session().document(), single.session().document());
        if !events.is_empty() {
            prop_assert_eq!(harness.log().len(), records + 1);
            prop_assert_eq!(harness.session().history().undo_depth(), depth + 1);
            harness.submit(&Command::undo(Scope::Session))?;
            prop_assert_eq!(harness.session().document(), &before);
        }
    }

    /// P5: one refused command refuses its batch. The rejection names the command, and the session is unchanged.
    #[test]
    fn batch_is_refused_with_one_command(
        setting in Setting::roomy(), plan in plan(0..20), edits in edits(0..8), at in any::<Index>()
    ) {
        let (mut harness, mut commands) = given(setting, &plan, &edits);
        let index = at.index(commands.len() + 1);
        let unknown = NodeId::new(Uuid::from_u128(0xdead_beef));
        commands.insert(index, Command::DeleteNode { node_id: unknown });
        let before = harness.session().document().clone();
        let refused = harness.submit(&Command::Batch { commands });
        let expected = Rejection::InBatch { index, rejection: Box::new(Rejection::NodeNotFound(unknown)) };
        prop_assert_eq!(refused, Err(expected));
        prop_assert_eq!(harness.session().document(), &before);
        prop_assert!(&harness.replayed()? == harness.session());
    }
}
