//! Which sessions there are: by id, in the order in which they began, and by project.

use std::{collections::BTreeMap, mem};

use super::entry::Entry;
use crate::{
    domain::{
        ids::{ProjectId, SessionId},
        session::Genesis,
    },
    log::StoredHead,
};

/// See the [module](self).
#[derive(Default)]
pub(super) struct Index {
    sessions: BTreeMap<SessionId, Entry>,
    /// Those that have begun, by their number.
    order: BTreeMap<u64, SessionId>,
    next_number: u64,
    projects: BTreeMap<ProjectId, SessionId>,
}

impl Index {
    /// Of the sessions that a log has, in the order in which they began.
    pub(super) fn of(stored: Vec<StoredHead>) -> Self {
        let mut index = Self::default();
        for head in stored {
            let session_id = head.genesis.session_id;
            index.enter(head);
            index.begin(session_id);
        }
        // What is put in one by one leaves such a map a third empty, or half of it if it comes in order. Built anew it
        // is full, and most of what it holds stays as it is.
        index.sessions = mem::take(&mut index.sessions).into_iter().collect();
        index.order = mem::take(&mut index.order).into_iter().collect();
        index.projects = mem::take(&mut index.projects).into_iter().collect();
        index
    }

    /// Those that are about to begin included.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many have begun.
    pub(super) fn begun(&self) -> usize {
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

    /// Takes the session's id, and its project's.
    pub(super) fn enter(&mut self, head: StoredHead) {
        let session_id = head.genesis.session_id;
        if let Some(project) = &head.genesis.project {
            self.projects.insert(project.project_id.clone(), session_id);
        }
        self.sessions.insert(session_id, Entry::beginning(head));
    }

    /// The session has a log: from now on it has a place in the order.
    pub(super) fn begin(&mut self, session_id: SessionId) -> Option<&mut Entry> {
        let entry = self.sessions.get_mut(&session_id)?;
        let number = self.next_number;
        self.next_number += 1;
        self.order.insert(number, session_id);
        entry.begin(number);
        Some(entry)
    }

    /// Gives up the session's id, and its project's.
    pub(super) fn remove(&mut self, session_id: SessionId) -> Option<Entry> {
        let entry = self.sessions.remove(&session_id)?;
        if let Some(number) = entry.number() {
            self.order.remove(&number);
        }
        if let Some(project) = &entry.summary.genesis.project {
            self.projects.remove(&project.project_id);
        }
        Some(entry)
    }

    /// Whose a project is, also if its session is about to begin.
    pub(super) fn holder(&self, project_id: &ProjectId) -> Option<SessionId> {
        self.projects.get(project_id).copied()
    }

    /// A project's session, if it has begun.
    pub(super) fn project(&self, project_id: &ProjectId) -> Option<&Genesis> {
        let entry = self.get(self.holder(project_id)?)?;
        entry.number().map(|_| &entry.summary.genesis)
    }

    pub(super) fn projects(&self) -> BTreeMap<ProjectId, Genesis> {
        let begun = |project_id: &ProjectId| Some((project_id.clone(), self.project(project_id)?.clone()));
        self.projects.keys().filter_map(begun).collect()
    }

    /// Some of those that have begun, in order.
    pub(super) fn page(&self, offset: usize, limit: usize) -> impl Iterator<Item = SessionId> {
        self.order.values().copied().skip(offset).take(limit)
    }
}
