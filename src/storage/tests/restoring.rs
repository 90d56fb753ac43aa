//! P12: verification and restore of logs.

use super::{
    damage::{copy, open_damaged, written},
    *,
};

/// A sound log verifies without faults while no hub runs. Each change is reported with its place.
#[tokio::test]
async fn verify_reports_each_fault_with_its_place() {
    let dir = folder();
    assert!(verify(dir.path(), |_, _| {}).is_err(), "there is no log");
    let log = open(dir.path());
    let sessions = written(&log).await;
    let in_use = verify(dir.path(), |_, _| {}).expect_err("a hub runs");
    assert!(matches!(in_use, OpenError::InUse { .. }), "{in_use}");
    log.close().await;
    let (id, head) = (sessions[0].id(), sessions[0].session.seq());
    drop((sessions, log));
    let mut steps = Vec::new();
    let sound = verify(dir.path(), |done, total| steps.push((done, total))).expect("readable");
    assert_eq!((sound.sessions, sound.findings.as_slice()), (3, &[][..]));
    assert_eq!(steps, [(0, 3), (1, 3), (2, 3), (3, 3)]);

    for (damage, words) in [
        (
            "UPDATE commands SET payload = replace(payload, 'node 9', 'node 8') WHERE sid = 1",
            "does not match its checksum",
        ),
        ("DELETE FROM commands WHERE sid = 1 AND seq = 20", "records are missing"),
        (
            "UPDATE snapshots SET checksum = 1 WHERE sid = 1",
            "does not match its checksum",
        ),
        (
            "UPDATE sessions SET node_count = 9 WHERE sid = 1",
            "does not match its checksum",
        ),
        ("DELETE FROM sessions WHERE sid = 1", "is not in the log"),
    ] {
        let damaged = folder();
        copy(dir.path(), damaged.path());
        let outside = Connection::open(database_path(damaged.path())).expect("opens");
        outside.pragma_update(None, "foreign_keys", "OFF").expect("set");
        assert!(outside.execute(damage, []).expect("damaged") > 0, "{damage}");
        drop(outside);
        let found = verify(damaged.path(), |_, _| {}).expect("readable").findings;
        let is_told = |finding: &Finding| finding.session_id == Some(id) && finding.text.contains(words);
        assert!(found.iter().any(is_told), "{damage}: {found:?}");
    }
    // A database from before what was acknowledged last.
    let mut later = open(dir.path());
    let older = folder();
    copy(dir.path(), older.path());
    let mut writing = Writing {
        log: later.clone(),
        session: replayed(&later, id).await,
        commands: 1_000,
    };
    writing.write(&create("later")).await;
    later.close().await;
    drop(writing);
    fs::copy(dir.path().join("hub.heads"), older.path().join("hub.heads")).expect("copied");
    let found = verify(older.path(), |_, _| {}).expect("readable").findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].text.contains(&format!("the log ends at {head}")), "{found:?}");
    later = open(older.path());
    later.close().await;
}

async fn replayed(log: &SqliteLog, session_id: SessionId) -> Session {
    let stored = log.open(session_id, 20).await.expect("readable").expect("there");
    Session::replay(stored.header, rules(), stored.snapshot, stored.records).expect("a good log")
}

/// A backup takes the place of a log, whatever is left of that: with all of its sessions, each in a new epoch, and nothing
/// of the old write-ahead log. What was there is kept.
#[tokio::test]
async fn restore_puts_a_backup_in_place_with_new_epochs() {
    let (dir, backups) = (folder(), folder());
    let file = backups.path().join("backup.sqlite");
    let log = open(dir.path());
    let mut sessions = written(&log).await;
    backup(dir.path(), &file).expect("copied");
    let before: Vec<_> = sessions.iter().map(|writing| writing.session.snapshot()).collect();
    sessions[0].write(&create("later")).await;
    let in_use = restore(dir.path(), &file, |_, _| {}).expect_err("a hub runs");
    assert!(
        matches!(in_use, RestoreError::Open(OpenError::InUse { .. })),
        "{in_use}"
    );
    // State after a kill, with a write-ahead log.
    let killed = folder();
    copy(dir.path(), killed.path());
    assert!(killed.path().join("hub.sqlite-wal").exists());

    let restored = restore(killed.path(), &file, |_, _| {}).expect("restored");
    assert_eq!(restored.sessions, 3);
    let kept = restored.replaced.expect("kept");
    assert!(kept.exists() && verify_file(&kept, |_, _| {}).expect("readable").findings.is_empty());
    assert!(!killed.path().join("hub.sqlite-wal").exists());
    assert_eq!(verify(killed.path(), |_, _| {}).expect("readable").findings, []);
    let log = open(killed.path());
    for (writing, before) in sessions.iter().zip(&before) {
        let session = replayed(&log, writing.id()).await;
        assert_ne!(session.header().epoch, header(1).epoch);
        assert_eq!(&session.snapshot(), before);
    }
}

/// A loss that the head mark tells of is accepted by restoring the database that is there; a damaged one, an empty one or
/// no log is not restored, and nothing is changed.
#[tokio::test]
async fn restore_accepts_a_loss_and_no_damage() {
    let dir = folder();
    let log = open(dir.path());
    let sessions = written(&log).await;
    log.delete(sessions[2].id()).await.expect("deleted");
    log.close().await;
    drop(sessions);
    let other = folder();
    let young = open(other.path());
    let _third = written(&young).await;
    young.close().await;
    drop((log, young));
    fs::copy(other.path().join("hub.heads"), dir.path().join("hub.heads")).expect("copied");
    assert!(open_damaged(dir.path()).is_err(), "a session is missing");
    let own = database_path(dir.path());
    let accepted = restore(dir.path(), &own, |_, _| {}).expect("accepted");
    assert_eq!((accepted.sessions, accepted.replaced), (2, None));
    drop(open(dir.path()));

    let bytes = fs::read(&own).expect("readable");
    let empty = folder();
    drop(open(empty.path()));
    let nothing = dir.path().join("nothing.sqlite");
    fs::write(&nothing, "").expect("written");
    let damaged = dir.path().join("damaged.sqlite");
    fs::write(&damaged, &bytes).expect("written");
    let outside = Connection::open(&damaged).expect("opens");
    outside
        .execute("UPDATE commands SET payload = replace(payload, 'node 9', 'node 8')", [])
        .expect("damaged");
    drop(outside);
    for (file, words) in [
        (database_path(empty.path()), "holds no session"),
        (nothing, "holds no log"),
        (damaged, "is damaged"),
        (dir.path().join("none"), "there is no such file"),
    ] {
        let refused = restore(dir.path(), &file, |_, _| {}).expect_err("refused").to_string();
        assert!(refused.contains(words), "{refused}");
        assert_eq!(fs::read(&own).expect("readable"), bytes, "nothing is changed");
    }
}
