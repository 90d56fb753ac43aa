//! Verification of a log: the checksum of each row, a replay of each session, and the state hash after each command.

use std::{path::Path, sync::Arc};

use rusqlite::Connection;
use talus_actors::{
    domain::{
        ids::SessionId,
        limits::Limits,
        session::{Rules, Session, Snapshot},
    },
    log::{LogError, PageMax},
};

use super::{
    OpenError,
    files::{self, DataLock},
    mark,
    reader::{ReadError, Reader},
    schema,
    sessions::AllSessions,
};

/// Events and bytes of a page of the replay.
const PAGE_MAX: PageMax = PageMax {
    items: 1_000,
    bytes: 16 * 1024 * 1024,
};

/// Fault in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Session with the fault; `None` for a fault of the file.
    pub session_id: Option<SessionId>,
    /// Description of the damage and its place.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.session_id {
            Some(session_id) => write!(f, "session {session_id}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Result of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Number of replayed sessions.
    pub sessions: usize,
    /// Number of replayed commands.
    pub commands: usize,
    /// Faults; empty for a sound log.
    pub findings: Vec<Finding>,
}

impl Verified {
    fn found(&mut self, session_id: Option<SessionId>, text: impl std::fmt::Display) {
        let text = text.to_string();
        self.findings.push(Finding { session_id, text });
    }
}

/// Verifies the log of a data directory on which no hub runs, and compares the log with its head mark.
///
/// # Errors
/// If a hub runs on the directory, or the directory has no readable log.
pub fn verify(dir: &Path, progress: impl FnMut(usize, usize)) -> Result<Verified, OpenError> {
    let path = files::database_path(dir);
    if !path.exists() {
        return Err(missing(&path));
    }
    let _lock = DataLock::take(dir)?;
    let mut verified = verify_file(&path, progress)?;
    let mark_path = mark::path(dir);
    let marks = mark::read(&mark_path).map_err(|error| OpenError::Io { path: mark_path, error })?;
    let connection = open(&path)?;
    let stored = AllSessions::read(&connection).map_err(|error| unusable(&path, &error))?;
    for (session_id, marked) in marks.unwrap_or_default() {
        let row = stored.rows.iter().find(|row| row.id() == session_id);
        match row {
            None => verified.found(Some(session_id), "it was acknowledged, and is not in the log"),
            Some(row) if row.head.header.epoch == marked.epoch && row.head.seq < marked.seq => {
                let text = format!("{} was acknowledged, and the log ends at {}", marked.seq, row.head.seq);
                verified.found(Some(session_id), text);
            }
            Some(_) => {}
        }
    }
    Ok(verified)
}

/// Verifies a log in a file that no hub uses: a backup. Reports the number of finished sessions and of all sessions.
///
/// # Errors
/// If the file is no log.
pub fn verify_file(path: &Path, mut progress: impl FnMut(usize, usize)) -> Result<Verified, OpenError> {
    let connection = open(path)?;
    let mut verified = Verified::default();
    check_structure(&connection, &mut verified).map_err(|error| unusable(path, &error))?;
    let stored = AllSessions::read(&connection).map_err(|error| unusable(path, &error))?;
    for (&session_id, reason) in &stored.damaged {
        verified.found(Some(session_id), reason);
    }
    let reader = Reader::new(connection, Arc::new(stored.damaged), 0);
    let total = stored.rows.len();
    for (done, row) in stored.rows.iter().enumerate() {
        progress(done, total);
        let session_id = row.id();
        if reader.is_damaged(session_id) {
            continue;
        }
        match replay(&reader, session_id) {
            Ok(commands) => {
                verified.sessions += 1;
                verified.commands += commands;
            }
            Err(error) => verified.found(Some(session_id), LogError::from(error)),
        }
    }
    progress(total, total);
    Ok(verified)
}

/// Runs SQLite's check of pages and indexes.
fn check_structure(connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if text != "ok" {
            verified.found(None, text);
        }
    }
    Ok(())
}

/// Replays a session from its first command, page by page, and compares its snapshots. Returns the number of commands.
fn replay(reader: &Reader, session_id: SessionId) -> Result<usize, ReadError> {
    let corrupt = |text: String| ReadError::from(LogError::Corrupt(text));
    let gone = || corrupt("its row is gone".to_owned());
    let (header, snapshots) = reader.snapshots(session_id)?.ok_or_else(gone)?;
    let limits = Limits {
        replay_window_events: 0,
        ..Limits::default()
    };
    let rules = Rules {
        blueprint: None,
        limits: Arc::new(limits),
    };
    let mut session = Session::new(header, rules);
    let mut commands = 0;
    loop {
        let page = reader.read(session_id, session.seq(), PAGE_MAX)?.ok_or_else(gone)?;
        if page.is_empty() {
            return Ok(commands);
        }
        commands += page.len();
        for recorded in &page {
            session
                .replay_record(recorded)
                .map_err(|error| corrupt(error.to_string()))?;
            if let Some(snapshot) = snapshots.iter().find(|snapshot| snapshot.seq == session.seq()) {
                compare(snapshot, &session).map_err(corrupt)?;
            }
        }
    }
}

fn compare(snapshot: &Snapshot, session: &Session) -> Result<(), String> {
    if snapshot.document == *session.document() {
        return Ok(());
    }
    Err(format!(
        "the snapshot at {} is of another document than its log",
        snapshot.seq
    ))
}

/// Opens a database without changing its content.
fn open(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(missing(path));
    }
    let connection = schema::open_for_reading(path).map_err(|error| unusable(path, &error))?;
    let is_log = connection
        .table_exists(None, "commands")
        .map_err(|error| unusable(path, &error))?;
    if is_log {
        return Ok(connection);
    }
    let text =
        "it holds no log. A copy of hub.sqlite without its hub.sqlite-wal looks like this: use `talus-hub backup`";
    Err(unusable(path, &text))
}

pub(super) fn missing(path: &Path) -> OpenError {
    unusable(path, &"there is no such file")
}

pub(super) fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> OpenError {
    OpenError::Database {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
