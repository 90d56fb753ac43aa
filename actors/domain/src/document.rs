//! State that events change: the graph, and what a project file has beside the graph.

use std::{collections::BTreeMap, sync::Arc};

use ecow::EcoString;
use serde::{Deserialize, Serialize};

use super::{graph::Graph, ids::TemplateId, value::Value};

/// Contents of a project file beside the graph. The hub keeps them and writes them back without interpretation.
pub type Extras = Arc<BTreeMap<EcoString, Value>>;

/// State that events change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Forest of nodes.
    pub graph: Graph,
    /// Other contents of the project file.
    #[serde(default, skip_serializing_if = "no_extras")]
    pub extras: Extras,
    /// Template that the graph was loaded with. `None` stands for the template that the session began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<TemplateId>,
}

fn no_extras(extras: &Extras) -> bool {
    extras.is_empty()
}

impl Document {
    /// Returns the estimated size of the document, in bytes of memory. Visits every node, so only events that load a
    /// document call it.
    pub(super) fn weight_bytes(&self) -> usize {
        const NODE_BYTES: usize = 200;
        self.graph
            .nodes()
            .map(|(_, node)| NODE_BYTES + node.content.weight_bytes())
            .sum()
    }
}
