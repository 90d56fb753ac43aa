//! Properties of replicas: the events alone rebuild the graph (P6).

use proptest::{prelude::*, sample::Index};
use talus_actors::domain::{
    document::Document,
    event::Event,
    testing::{plan::plan, sample::Setting},
};

use crate::replica::Replica;

proptest! {
    /// P6: a replica that follows the protocol and receives only wire events has the same tree after every command,
    /// including undo and redo.
    #[test]
    fn replica_has_same_tree(setting in Setting::any(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        let mut replica = Replica::default();
        let mut applied = 0;
        for choice in &plan {
            harness.run(choice);
            for recorded in &harness.log()[applied..] {
                recorded.events.iter().for_each(|event| replica.apply(event));
            }
            applied = harness.log().len();
            prop_assert_eq!(replica.tree(), Replica::of(&harness.session().document().graph).tree());
        }
    }

    /// P6, P2: a replica that joins with a snapshot between any two commands reaches the same tree.
    #[test]
    fn late_replica_has_same_tree(setting in Setting::any(), plan in plan(1..40), at in any::<Index>()) {
        let mut harness = setting.harness();
        let (before, after) = plan.split_at(at.index(plan.len()));
        for choice in before {
            harness.run(choice);
        }
        let mut replica = Replica::of(&harness.session().document().graph);
        let joined = harness.session().seq();
        for choice in after {
            harness.run(choice);
        }
        for recorded in harness.log().iter().filter(|recorded| recorded.seq() > joined) {
            recorded.events.iter().for_each(|event| replica.apply(event));
        }
        prop_assert_eq!(replica.tree(), Replica::of(&harness.session().document().graph).tree());
    }

    /// P6: applying the serialized events in order rebuilds the document.
    #[test]
    fn events_alone_rebuild_document(setting in Setting::any(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        for choice in &plan {
            harness.run(choice);
        }
        let mut document = Document::default();
        for event in harness.log().iter().flat_map(|recorded| &recorded.events) {
            let read: Event = serde_json::from_str(&serde_json::to_string(event)?)?;
            read.apply(&mut document)?;
        }
        prop_assert_eq!(&document, harness.session().document());
    }
}
