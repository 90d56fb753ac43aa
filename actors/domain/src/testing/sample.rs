//! Sample template with each kind of type and property, and initial sessions.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::Strategy, sample::select};
use uuid::Uuid;

use super::harness::{BEGINNING, Harness};
use crate::{
    blueprint::{
        Blueprint,
        document::{NodeTypeDocument, OptionDocument, PropertyDocument, TemplateDocument},
    },
    command::{Command, CreateNode},
    ids::{Epoch, SessionId, TemplateId},
    limits::Limits,
    session::{Project, Rules, SessionHeader},
    value::{Number, Value},
};

/// Uuid of the type `task`, given by the template. The uuids of the other types are derived.
pub const TASK: &str = "7a5c0000-0000-4000-8000-00000000000a";

/// Uuid of a task's property `done`, given by the template. The uuids of the other properties are derived.
pub const DONE: &str = "d0e00000-0000-4000-8000-00000000000b";

/// Id of the option `High` of a task's priority, given by the template. The ids of the other options are derived.
pub const HIGH: &str = "high";

/// Returns the sample template:
///
/// ```text
///  project (root) ─┬─ phase (may nest, scheduling) ─── task
///                  ├─ task ─┬─ task
///                  │        └─ part (an asset, without properties)
///                  └─ person (with what every person has)
/// ```
#[must_use]
pub fn template() -> TemplateDocument {
    TemplateDocument {
        name: Some("Sample".into()),
        node_types: vec![
            NodeTypeDocument {
                features: vec!["is_root".into(), "budgeting".into()],
                properties: vec![property("name", "text"), property("start", "date")],
                ..node_type("project", &["phase", "task", "person"])
            },
            NodeTypeDocument {
                features: vec!["scheduling".into()],
                ..node_type("phase", &["phase", "task", "never_heard_of"])
            },
            NodeTypeDocument {
                uuid: Some(TASK.into()),
                allowed_asset_types: vec!["part".into()],
                properties: task_properties(),
                ..node_type("task", &[TASK])
            },
            node_type("part", &[]),
            node_type("person", &[]),
        ],
        ..TemplateDocument::default()
    }
}

fn node_type(id: &str, allowed_children: &[&str]) -> NodeTypeDocument {
    NodeTypeDocument {
        id: Some(id.into()),
        label: Some(id.to_uppercase().into()),
        allowed_children: allowed_children.iter().map(|&child| child.into()).collect(),
        ..NodeTypeDocument::default()
    }
}

fn property(id: &str, kind: &str) -> PropertyDocument {
    PropertyDocument {
        id: Some(id.into()),
        label: Some(id.to_uppercase().into()),
        kind: Some(kind.into()),
        ..PropertyDocument::default()
    }
}

/// Returns a property of each kind.
fn task_properties() -> Vec<PropertyDocument> {
    let option = |name: &str, id: Option<&str>| OptionDocument {
        line: None,
        name: Some(name.into()),
        id: id.map(Into::into),
        indicator_id: None,
    };
    vec![
        property("name", "text"),
        property("notes", "textarea"),
        PropertyDocument {
            default: Some(Value::Number(Number::Int(1))),
            ..property("estimate", "number")
        },
        property("cost", "currency"),
        PropertyDocument {
            uuid: Some(DONE.into()),
            default: Some(Value::Bool(false)),
            ..property("done", "checkbox")
        },
        property("due", "date"),
        PropertyDocument {
            options: Some(vec![option("Low", None), option("High", Some(HIGH))]),
            ..property("priority", "select")
        },
        property("owner", "node_reference"),
        property("details", "object"),
        property("mood", "hologram"),
    ]
}

/// Returns the checked and indexed sample template.
#[must_use]
pub fn blueprint() -> Arc<Blueprint> {
    let id = template_id();
    Arc::new(Blueprint::build(id, template()).expect("the sample is sound"))
}

fn template_id() -> TemplateId {
    "sample".parse().expect("the sample has a good id")
}

/// Returns the header of a session without a project.
#[must_use]
pub const fn header() -> SessionHeader {
    SessionHeader {
        session_id: SessionId::new(Uuid::from_u128(0x5e55_0000_0000_4000_8000_0000_0000_0001)),
        epoch: Epoch::new(0xe0c),
        created_at: BEGINNING,
        project: None,
    }
}

/// Returns the header of a session for a project with the sample template.
#[must_use]
pub fn project_header() -> SessionHeader {
    SessionHeader {
        project: Some(Project {
            project_id: "demo".parse().expect("the sample has a good id"),
            project_name: "Demo".into(),
            template_id: Some(template_id()),
        }),
        ..header()
    }
}

/// Returns limits so low that random plans reach each of them.
#[must_use]
pub const fn tight_limits() -> Limits {
    Limits {
        name_chars_max: 12,
        value_bytes_max: 64,
        properties_per_node_max: 12,
        depth_max: 5,
        nodes_max: 16,
        batch_commands_max: 4,
        undo_depth_max: 6,
        undo_bytes_max: 6_000,
        replay_window_events: 20,
        replay_window_bytes_max: 6_000,
    }
}

/// Initial kinds of sessions for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Session without a template: all types and properties are allowed.
    Free,
    /// Project with the sample template and its root node.
    Project,
    /// As [`Self::Free`], with [`tight_limits`].
    TightFree,
    /// As [`Self::Project`], with [`tight_limits`].
    TightProject,
}

impl Setting {
    /// All settings.
    pub const ALL: [Self; 4] = [Self::Free, Self::Project, Self::TightFree, Self::TightProject];

    /// Generates any setting.
    pub fn any() -> impl Strategy<Value = Self> {
        select(&Self::ALL[..])
    }

    /// Generates a setting with the default limits.
    pub fn roomy() -> impl Strategy<Value = Self> {
        select(&Self::ALL[..2])
    }

    /// Returns template and limits of the setting.
    #[must_use]
    pub fn rules(self) -> Rules {
        let limits = match self {
            Self::Free | Self::Project => Limits::default(),
            Self::TightFree | Self::TightProject => tight_limits(),
        };
        let blueprint = match self {
            Self::Free | Self::TightFree => None,
            Self::Project | Self::TightProject => Some(blueprint()),
        };
        Rules {
            blueprint,
            limits: Arc::new(limits),
        }
    }

    /// Returns a session under test for the setting.
    ///
    /// # Panics
    /// Panics if a project cannot begin with its root node, which is a defect that tests look for.
    #[must_use]
    pub fn harness(self) -> Harness {
        match self {
            Self::Free | Self::TightFree => Harness::new(header(), self.rules()),
            Self::Project | Self::TightProject => {
                let mut harness = Harness::new(project_header(), self.rules());
                harness.submit(&begin_project()).expect("a project begins");
                harness
            }
        }
    }
}

/// Returns the command that begins a project with the sample template.
#[must_use]
pub fn begin_project() -> Command {
    Command::CreateProject {
        root: CreateNode {
            node_type: "project".into(),
            name: Some("Demo".into()),
            parent_id: None,
            index: None,
            properties: BTreeMap::new(),
            node_id: None,
        },
    }
}
