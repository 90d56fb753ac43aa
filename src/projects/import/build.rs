//! Second step of an import: resolves links, translates words, enforces limits, and builds the graph.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ecow::EcoString;
use serde_json::{Map, Value as Json};
use talus_actors::domain::{
    command::CreateNode,
    content::NodeContent,
    graph::Graph,
    ids::{NodeId, PropertyId, TypeId},
    limits::{LimitExceeded, Limits, NameError, check_depth, check_name, check_value},
    orphans::{ORPHANED, ORPHANED_PROPERTIES},
    properties::Properties,
    value::Value,
};

use super::{
    ImportError, Orphan, Strictness,
    shape::{NodeEntry, Shape, alias_id, first},
};
use crate::projects::{Vocabulary, vocabulary::Meaning};

/// Resolved parent and children of every node.
struct Links {
    children: BTreeMap<NodeId, Vec<NodeId>>,
    parents: BTreeMap<NodeId, NodeId>,
}

pub(super) fn build(
    shape: Shape,
    vocabulary: Vocabulary<'_>,
    limits: &Limits,
    strictness: Strictness,
) -> Result<(Graph, Vec<Orphan>), ImportError> {
    let ids = distinct_ids(&shape.nodes)?;
    let links = resolve_links(&shape, &ids)?;
    let aliases: BTreeSet<String> = shape.nodes.iter().filter_map(|node| node.alias.clone()).collect();
    let reader = Reader {
        vocabulary,
        limits,
        strictness,
        aliases: &aliases,
    };
    let order: Vec<NodeId> = shape.nodes.iter().map(|node| node.id).collect();
    let mut contents = BTreeMap::new();
    let mut orphans = Vec::new();
    for NodeEntry { path, id, fields, .. } in shape.nodes {
        let mut content = reader.content(&path, fields)?;
        if let Some((unknown_type, properties)) = vocabulary.orphaned(&content) {
            let metadata = content.metadata.map(|own| *own);
            content.metadata = Some(Box::new(with_orphan_marks(metadata, unknown_type, &properties)));
            orphans.push(Orphan {
                node_id: id,
                unknown_type,
                properties,
            });
        }
        contents.insert(id, (path, content));
    }
    let graph = build_graph(&order, &links, contents, limits)?;
    Ok((graph, orphans))
}

/// Returns the ids, and refuses an id that two nodes have.
fn distinct_ids(nodes: &[NodeEntry]) -> Result<BTreeSet<NodeId>, ImportError> {
    let mut ids = BTreeSet::new();
    for node in nodes {
        if !ids.insert(node.id) {
            return Err(ImportError::invalid(
                format!("{}.id", node.path),
                format!("{} is used twice", node.id),
            ));
        }
    }
    Ok(ids)
}

/// Resolves the links. Lists of children determine the order. A parent field or an edge that repeats a link is
/// accepted, and a link that no list contains appends the node at the end.
fn resolve_links(shape: &Shape, ids: &BTreeSet<NodeId>) -> Result<Links, ImportError> {
    let mut links = Links {
        children: BTreeMap::new(),
        parents: BTreeMap::new(),
    };
    let listed = shape
        .nodes
        .iter()
        .flat_map(|node| node.children.iter().map(|(path, child)| (path, node.id, *child, true)));
    let named = shape.nodes.iter().filter_map(|node| {
        node.parent
            .as_ref()
            .map(|(path, parent)| (path, *parent, node.id, false))
    });
    let edges = shape
        .edges
        .iter()
        .map(|(path, parent, child)| (path, *parent, *child, false));
    for (path, parent, child, must_be_new) in listed.chain(named).chain(edges) {
        for end in [parent, child] {
            if !ids.contains(&end) {
                return Err(ImportError::invalid(path, format!("node {end} does not exist")));
            }
        }
        match links.parents.insert(child, parent) {
            None => links.children.entry(parent).or_default().push(child),
            Some(other) if other != parent => {
                return Err(ImportError::invalid(
                    path,
                    format!("node {child} has two parents, {other} and {parent}"),
                ));
            }
            Some(_) if must_be_new => {
                return Err(ImportError::invalid(path, format!("node {child} is named twice")));
            }
            Some(_) => {}
        }
    }
    Ok(links)
}

/// Builds the graph from the roots down. A node that is not reached is part of a cycle.
fn build_graph(
    order: &[NodeId],
    links: &Links,
    mut contents: BTreeMap<NodeId, (String, NodeContent)>,
    limits: &Limits,
) -> Result<Graph, ImportError> {
    let mut graph = Graph::default();
    let is_root = |id: &&NodeId| !links.parents.contains_key(id);
    // Depth first: a parent is inserted before its children, and children in their order.
    let mut stack: Vec<(NodeId, usize)> = order.iter().filter(is_root).rev().map(|id| (*id, 1)).collect();
    while let Some((id, depth)) = stack.pop() {
        let Some((path, content)) = contents.remove(&id) else {
            continue;
        };
        let max = limits.depth_max;
        if depth > max {
            return Err(ImportError::limit(
                path,
                LimitExceeded {
                    limit: "depth_max",
                    max,
                    found: depth,
                },
            ));
        }
        let parent = links.parents.get(&id).copied();
        let end = graph
            .children(parent)
            .map_or(0, talus_actors::domain::siblings::Siblings::len);
        graph
            .insert(id, content, parent, end)
            .map_err(|misfit| ImportError::invalid(path, misfit.to_string()))?;
        let children = links.children.get(&id).into_iter().flatten();
        stack.extend(children.rev().map(|child| (*child, depth + 1)));
    }
    match order.iter().find_map(|id| contents.get(id)) {
        None => Ok(graph),
        Some((path, _)) => Err(ImportError::invalid(path, "the node is its own ancestor")),
    }
}

struct Reader<'a> {
    vocabulary: Vocabulary<'a>,
    limits: &'a Limits,
    strictness: Strictness,
    /// Original ids of nodes whose id was replaced by a UUID.
    aliases: &'a BTreeSet<String>,
}

impl Reader<'_> {
    fn content(&self, path: &str, mut fields: Map<String, Json>) -> Result<NodeContent, ImportError> {
        let word = match first(&mut fields, &["type", "blueprint_type_id", "blueprintType"]) {
            Some((_, Json::String(word))) if !word.is_empty() => word,
            Some((spelling, _)) => {
                return Err(ImportError::invalid(
                    format!("{path}.{spelling}"),
                    "must be a string that is not empty",
                ));
            }
            None => return Err(ImportError::invalid(format!("{path}.type"), "is required")),
        };
        // A type that the template does not have is kept as written.
        let type_id = self
            .vocabulary
            .type_id(&word)
            .unwrap_or_else(|| TypeId::new(word.as_str()));
        let own_name = match (fields.remove("name"), fields.remove("label")) {
            (None | Some(Json::Null), Some(label)) => Some(("label".to_owned(), label)),
            (Some(name), _) => Some(("name".to_owned(), name)),
            (None, None) => None,
        };
        let mut properties = match fields.remove("properties") {
            None | Some(Json::Null) => Map::new(),
            Some(Json::Object(properties)) => properties,
            Some(_) => return Err(ImportError::invalid(format!("{path}.properties"), "must be an object")),
        };
        let mut metadata = match fields.remove("metadata") {
            None | Some(Json::Null) => Map::new(),
            Some(Json::Object(metadata)) => metadata,
            Some(_) => return Err(ImportError::invalid(format!("{path}.metadata"), "must be an object")),
        };
        metadata.remove(ORPHANED);
        match metadata.remove(ORPHANED_PROPERTIES) {
            // The predecessor moves properties that its template does not know out of the properties, with their
            // values.
            Some(Json::Object(orphaned)) => self.restore_orphaned(&type_id, &mut properties, orphaned),
            // The hub's own mark is a list of ids, which is computed anew.
            None | Some(Json::Null | Json::Array(_)) => {}
            Some(_) => {
                return Err(ImportError::invalid(
                    format!("{path}.metadata.{ORPHANED_PROPERTIES}"),
                    "must be an object or a list",
                ));
            }
        }
        let (properties, property_name) = self.properties(path, &type_id, properties)?;
        let written = match own_name {
            Some((_, Json::Null)) if property_name.is_some() => property_name,
            own => own.or(property_name),
        };
        let name = match written {
            None => CreateNode::DEFAULT_NAME.into(),
            Some((spelling, written)) => self.name(&format!("{path}.{spelling}"), written)?,
        };
        let metadata = self.metadata(path, metadata)?;
        Ok(NodeContent {
            name,
            type_id,
            properties,
            metadata: metadata.map(Box::new),
        })
    }

    /// Restores values that were moved out of the properties, unless the node has a newer value.
    fn restore_orphaned(&self, type_id: &TypeId, properties: &mut Map<String, Json>, orphaned: Map<String, Json>) {
        let meaning = |word: &str| match self.vocabulary.property(type_id, word) {
            Meaning::Name => PropertyId::new(PropertyId::NAME),
            Meaning::Property { id, .. } => id,
            Meaning::Unknown => PropertyId::new(word),
        };
        let there: BTreeSet<PropertyId> = properties.keys().map(|word| meaning(word)).collect();
        let gone = orphaned.into_iter().filter(|(word, _)| {
            let id = meaning(word);
            id.as_str() != PropertyId::NAME && !there.contains(&id)
        });
        properties.extend(gone);
    }

    /// Returns the properties by id, and the name if a property holds it. The name is not kept among the properties.
    fn properties(
        &self,
        path: &str,
        type_id: &TypeId,
        written: Map<String, Json>,
    ) -> Result<(Properties, Option<(String, Json)>), ImportError> {
        let (mut properties, mut name) = (Properties::new(), None);
        for (word, value) in written {
            let at = || format!("{path}.properties.{word}");
            let (id, is_reference) = match self.vocabulary.property(type_id, &word) {
                Meaning::Name => {
                    if matches!(value, Json::Bool(_) | Json::Array(_) | Json::Object(_)) {
                        return Err(ImportError::invalid(at(), NAME_KINDS));
                    }
                    // The value under the slug `name` takes precedence over the value under the UUID.
                    if name.is_none() || word == PropertyId::NAME {
                        name = Some((format!("properties.{word}"), value));
                    }
                    continue;
                }
                Meaning::Property { id, is_reference } => (id, is_reference),
                Meaning::Unknown if word.is_empty() => return Err(ImportError::invalid(at(), "a property has a name")),
                Meaning::Unknown => (PropertyId::new(word.as_str()), false),
            };
            let value = Value::from(if is_reference {
                self.replace_aliases(value)
            } else {
                value
            });
            check_value(&value, self.limits).map_err(|exceeded| ImportError::limit(at(), exceeded))?;
            if properties.insert(id, value).is_some() {
                return Err(ImportError::invalid(
                    at(),
                    "the property is there twice, by slug and by id",
                ));
            }
        }
        let (max, found) = (self.limits.properties_per_node_max, properties.len());
        if found > max {
            let exceeded = LimitExceeded {
                limit: "properties_per_node_max",
                max,
                found,
            };
            return Err(ImportError::limit(format!("{path}.properties"), exceeded));
        }
        Ok((properties, name))
    }

    /// Replaces references to nodes whose id was replaced.
    fn replace_aliases(&self, value: Json) -> Json {
        match value {
            Json::String(text) if self.aliases.contains(&text) => Json::String(alias_id(&text).to_string()),
            Json::Array(items) => Json::Array(
                items
                    .into_iter()
                    .map(|item| match item {
                        Json::String(_) => self.replace_aliases(item),
                        other => other,
                    })
                    .collect(),
            ),
            other => other,
        }
    }

    /// Reads a name at the path `at`. Numbers are accepted as texts, since files of the predecessor contain them.
    fn name(&self, at: &str, written: Json) -> Result<EcoString, ImportError> {
        let text = match written {
            Json::String(text) => text,
            Json::Number(number) => number.to_string(),
            Json::Null if self.strictness == Strictness::File => String::new(),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => {
                return Err(ImportError::invalid(at, NAME_KINDS));
            }
        };
        match (check_name(&text, self.limits), self.strictness) {
            (Ok(()), _) => Ok(text.into()),
            (Err(NameError::TooLong(exceeded)), _) => Err(ImportError::limit(at, exceeded)),
            (Err(NameError::Blank), Strictness::File) => Ok(CreateNode::DEFAULT_NAME.into()),
            (Err(NameError::Control), Strictness::File) => {
                let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                self.name(at, Json::String(visible))
            }
            (Err(fault), Strictness::Request) => Err(ImportError::invalid(at, fault.to_string())),
        }
    }

    fn metadata(&self, path: &str, written: Map<String, Json>) -> Result<Option<Value>, ImportError> {
        if written.is_empty() {
            return Ok(None);
        }
        let metadata = Value::from(Json::Object(written));
        check_value(&metadata, self.limits)
            .and_then(|()| check_depth(&metadata))
            .map_err(|exceeded| ImportError::limit(format!("{path}.metadata"), exceeded))?;
        Ok(Some(metadata))
    }
}

/// Message for a name of a wrong type.
const NAME_KINDS: &str = "a name is a string";

/// Adds the marks of an orphan to metadata.
pub(in crate::projects) fn with_orphan_marks(
    metadata: Option<Value>,
    unknown_type: bool,
    properties: &[PropertyId],
) -> Value {
    let mut members = match metadata {
        Some(Value::Object(members)) => Arc::unwrap_or_clone(members),
        _ => BTreeMap::new(),
    };
    if unknown_type {
        members.insert(ORPHANED.into(), Value::Bool(true));
    }
    if !properties.is_empty() {
        let ids = properties.iter().map(|id| Value::text(id.as_str())).collect();
        members.insert(ORPHANED_PROPERTIES.into(), Value::List(ids));
    }
    Value::Object(Arc::new(members))
}
