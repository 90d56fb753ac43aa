//! placeholder
use super::{graph::Properties, ids::*, value::Value};
use std::sync::Arc;
#[derive(Debug)]
pub struct Blueprint {
    pub types: Vec<NodeType>,
    pub id: TemplateId,
}
impl Blueprint {
    pub fn node_type(&self, r: &str) -> Option<&NodeType> {
        self.types.iter().find(|t| t.id.as_str() == r || &*t.key == r)
    }
    pub fn root_type(&self) -> &NodeType {
        &self.types[0]
    }
    pub fn id(&self) -> &TemplateId {
        &self.id
    }
}
#[derive(Debug)]
pub struct NodeType {
    pub id: TypeId,
    pub key: Arc<str>,
    pub name: Arc<str>,
}
impl NodeType {
    pub fn property(&self, _r: &str) -> Option<&PropertyType> {
        None
    }
    pub fn allows_child(&self, _c: &NodeType) -> bool {
        true
    }
    pub fn defaults(&self) -> Properties {
        Properties::new()
    }
}
#[derive(Debug)]
pub struct PropertyType {
    pub id: PropertyId,
    pub key: Arc<str>,
}
pub struct InvalidValue {
    pub expected: String,
}
impl PropertyType {
    pub fn check(&self, v: &Value, _e: &dyn Fn(NodeId) -> bool) -> Result<Value, InvalidValue> {
        Ok(v.clone())
    }
}
