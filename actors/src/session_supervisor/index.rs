//! Index of all sessions: by id, by order of creation, and by project.

use std::{collections::BTreeMap, mem};

use super::entry::Entry;
use crate::{
    domain::{
        ids::{ProjectId, SessionId},
        session::SessionHeader,
    },
    log::StoredHead,
};

/// Session index; see the [module](self).
#[derive(Default)]
pub(super) struct Index {
    sessions: BTreeMap<SessionId, Entry>,
    /// Created sessions by position.
    order: BTreeMap<u64, SessionId>,
    next_number: u64,
    projects: BTreeMap<ProjectId, SessionId>,
}

impl Index {
    /// Creates the index of the sessions in a log, in order of creation.
    pub(super) fn new(stored: Vec<StoredHead>) -> Self {
        let mut index = Self::default();
        for head in stored {
            let session_id = head.header.session_id;
            index.reserve(head);
            index.mark_created(session_id);
        }
        // Incremental insertion leaves the nodes of a B-tree a third empty, or half empty in ascending order.
        // Rebuilding the maps fills the nodes, and the index stays mostly unchanged afterwards.
        index.sessions = mem::take(&mut index.sessions).into_iter().collect();
        index.order = mem::take(&mut index.order).into_iter().collect();
        index.projects = mem::take(&mut index.projects).into_iter().collect();
        index
    }

    /// Returns the number of sessions, including reserved ones.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Returns the number of created sessions.
    pub(super) fn created_len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn get(&self, session_id: SessionId) -> Option<&Entry> {
        self.sessions.get(&session_id)
    }

    pub(super) fn get_mut(&mut self, session_id: SessionId) -> Option<&mut Entry> {
        self.sessions.get_mut(&session_id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Entry)> {
        self.sessions.iter().map(|(id, entry)| (*id, entry))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SessionId, &mut Entry)> {
        self.sessions.iter_mut().map(|(id, entry)| (*id, entry))
    }

    /// Reserves the ids of a session and of its project.
    pub(super) fn reserve(&mut self, head: StoredHead) {
        let session_id = head.header.session_id;
        if let Some(project) = &head.header.project {
            self.projects.insert(project.project_id.clone(), session_id);
        }
        self.sessions.insert(session_id, Entry::reserved(head));
    }

    /// Marks a session as created and assigns its position.
    pub(super) fn mark_created(&mut self, session_id: SessionId) -> Option<&mut Entry> {
        let entry = self.sessions.get_mut(&session_id)?;
        let number = self.next_number;
        self.next_number += 1;
        self.order.insert(number, session_id);
        entry.mark_created(number);
        Some(entry)
    }

    /// Removes a session and frees the ids of session and project.
    pub(super) fn remove(&mut self, session_id: SessionId) -> Option<Entry> {
        let entry = self.sessions.remove(&session_id)?;
        if let Some(number) = entry.number() {
            self.order.remove(&number);
        }
        if let Some(project) = &entry.summary.header.project {
            self.projects.remove(&project.project_id);
        }
        Some(entry)
    }

    /// Returns the session that holds a project, including a reserved session.
    pub(super) fn holder(&self, project_id: &ProjectId) -> Option<SessionId> {
        self.projects.get(project_id).copied()
    }

    /// Returns the header of the created session that holds a project.
    pub(super) fn project(&self, project_id: &ProjectId) -> Option<&SessionHeader> {
        let entry = self.get(self.holder(project_id)?)?;
        entry.number().map(|_| &entry.summary.header)
    }

    pub(super) fn projects(&self) -> BTreeMap<ProjectId, SessionHeader> {
        let created = |project_id: &ProjectId| Some((project_id.clone(), self.project(project_id)?.clone()));
        self.projects.keys().filter_map(created).collect()
    }

    /// Returns a page of the created sessions, in order.
    pub(super) fn page(&self, offset: usize, limit: usize) -> impl Iterator<Item = SessionId> {
        self.order.values().copied().skip(offset).take(limit)
    }
}
