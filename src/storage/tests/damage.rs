//! P12: damage at any place of the files is detected and reported.

use std::collections::BTreeMap;

use talus_actors::{domain::session::document_at, log::LogError};

use super::*;

/// Number of damaged places in each file, one at a time.
const FLIPS: u64 = 120;

/// Deterministic pseudo-random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Three sessions with snapshots, undone commands and enough rows to fill pages of every kind.
pub(super) async fn written(log: &SqliteLog) -> Vec<Writing> {
    let mut all = Vec::new();
    for number in 1..=3 {
        let mut writing = Writing::begin(log, number).await;
        for command in 0..40 {
            writing
                .write(&create(&format!("node {command} of session {number}")))
                .await;
            if command % 7 == 3 {
                writing.write(&Command::undo(Scope::Session)).await;
            }
            if command % 14 == 3 {
                writing.write(&Command::redo(Scope::Session)).await;
            }
            if command == 20 || command == 30 {
                log.keep_snapshot(writing.id(), writing.session.snapshot());
                kept(log, writing.id(), writing.session.seq()).await;
            }
        }
        all.push(writing);
    }
    all
}

type Read = Result<String, LogError>;

/// Results of all reads of a session, by the kind of read.
async fn everything(log: &SqliteLog, session_id: SessionId, head: Seq) -> BTreeMap<String, Read> {
    let mut read = BTreeMap::new();
    let corrupt = |error: talus_actors::domain::session::ReplayError| LogError::Corrupt(error.to_string());
    let opened = log.open(session_id, 20).await.and_then(|stored| {
        let Some(stored) = stored else {
            return Ok("none".to_owned());
        };
        let epoch = stored.header.epoch;
        let session = Session::replay(stored.header, rules(), stored.snapshot, stored.records).map_err(corrupt)?;
        Ok(format!("{epoch} {:?}", session.snapshot()))
    });
    read.insert("open".to_owned(), opened);
    for at in [1, 9, 30, 60, head.0] {
        let document = log.open_at(session_id, Seq(at)).await.and_then(|stored| {
            let Some(stored) = stored else {
                return Ok("none".to_owned());
            };
            let document = document_at(stored.snapshot.as_ref(), &stored.records, Seq(at)).map_err(corrupt)?;
            Ok(format!("{document:?}"))
        });
        read.insert(format!("at {at}"), document);
    }
    let (mut after, mut page) = (Seq::ZERO, 0);
    while after < head {
        let records = log
            .read(session_id, after, 30.into())
            .await
            .map(Option::unwrap_or_default);
        after = match &records {
            Ok(records) => records.last().map_or(head, |record| record.seq()),
            Err(_) => head,
        };
        read.insert(format!("read {page}"), records.map(|records| format!("{records:?}")));
        page += 1;
    }
    for before in [Seq(40), Seq(u64::MAX)] {
        let told = log.read_back(session_id, before, 1_000.into()).await;
        read.insert(format!("back {before}"), told.map(|told| format!("{told:?}")));
    }
    read
}

/// Copies the files of a log as a killed hub would leave them.
pub(super) fn copy(from: &Path, to: &Path) {
    for name in ["hub.sqlite", "hub.sqlite-wal", "hub.heads"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).expect("copied");
        }
    }
}

fn flip(path: &Path, random: &mut Random) -> u64 {
    let mut bytes = fs::read(path).expect("readable");
    let place = random.below(bytes.len() as u64);
    bytes[usize::try_from(place).expect("small")] ^= 1 << random.below(8);
    fs::write(path, bytes).expect("written");
    place
}

/// Opens a log that may be damaged.
pub(super) fn open_damaged(dir: &Path) -> Result<SqliteLog, OpenError> {
    SqliteLog::open(dir, &Options::default(), Box::new(|_| {}))
}

/// P12: with one bit of the database flipped, wherever, each read gives what it gave before or an error: never something
/// else.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "says how many were noticed")]
async fn flipped_bit_in_the_database_is_never_served() {
    let dir = folder();
    let log = open(dir.path());
    let sessions = written(&log).await;
    let ids: Vec<_> = sessions
        .iter()
        .map(|writing| (writing.id(), writing.session.seq()))
        .collect();
    let mut before = Vec::new();
    for &(id, head) in &ids {
        before.push(everything(&log, id, head).await);
    }
    log.close().await;
    drop((sessions, log));
    let (mut random, mut refused, mut told, mut harmless) = (Random(13), 0, 0, 0);
    for _ in 0..FLIPS {
        let damaged = folder();
        copy(dir.path(), damaged.path());
        let place = flip(&database_path(damaged.path()), &mut random);
        let Ok(log) = open_damaged(damaged.path()) else {
            refused += 1;
            continue;
        };
        let mut is_told = false;
        for (&(id, head), before) in ids.iter().zip(&before) {
            let now = everything(&log, id, head).await;
            for (way, read) in &now {
                match read {
                    Ok(_) => assert_eq!(read, &before[way], "{way} of {id} with a bit flipped at {place}"),
                    Err(_) => is_told = true,
                }
            }
        }
        told += usize::from(is_told);
        harmless += usize::from(!is_told);
        log.close().await;
    }
    eprintln!("database: {FLIPS} flips: {refused} refused at the start, {told} told by reads, {harmless} harmless");
    assert!(refused + told > 10, "some of it matters");
}

/// Asserts that every kind of read of a session fails.
async fn assert_damaged(log: &SqliteLog, session_id: SessionId, at: Seq) {
    assert!(
        matches!(log.open_at(session_id, at).await, Err(LogError::Corrupt(_))),
        "at {at}"
    );
    assert!(
        matches!(
            log.read(session_id, Seq::ZERO, 1_000.into()).await,
            Err(LogError::Corrupt(_))
        ),
        "read"
    );
    assert!(
        matches!(
            log.read_back(session_id, Seq(u64::MAX), 1_000.into()).await,
            Err(LogError::Corrupt(_))
        ),
        "back"
    );
}

/// P12: after a change of any column, or the loss of a row, every read of the session fails, and no other session does.
#[tokio::test]
async fn changed_or_lost_row_fails_every_read() {
    for damage in [
        "UPDATE commands SET payload = replace(payload, 'node 9', 'node 8') WHERE sid = 1",
        "UPDATE commands SET undone = 1 - undone WHERE sid = 1 AND seq = 20",
        "UPDATE commands SET seq = seq + 1000, first_seq = first_seq + 1000 WHERE sid = 1 AND seq = 20",
        "UPDATE commands SET command_id = x'000102030405060708090a0b0c0d0e0f' WHERE sid = 1 AND seq = 20",
        "UPDATE commands SET checksum = NULL WHERE sid = 1 AND seq = 20",
        "UPDATE commands SET checksum = checksum + 1 WHERE sid = 1 AND seq = 20",
        "DELETE FROM commands WHERE sid = 1 AND seq = 20",
        "DELETE FROM commands WHERE sid = 1 AND seq = 2",
        "UPDATE commands SET sid = 2, seq = 500, command_id = randomblob(16) WHERE sid = 1 AND seq = 20",
    ] {
        let dir = folder();
        let log = open(dir.path());
        let sessions = written(&log).await;
        let outside = Connection::open(database_path(dir.path())).expect("opens");
        outside.execute("DELETE FROM snapshots", []).expect("gone");
        assert!(outside.execute(damage, []).expect("damaged") > 0, "{damage}");
        assert_damaged(&log, sessions[0].id(), Seq(30)).await;
        if !damage.contains("sid = 2") {
            assert_eq!(sessions[1].replayed().await.snapshot(), sessions[1].session.snapshot());
        }
    }
}

/// P12: rows that are missing at the end of a log are missed, since the row of the session says how far it goes.
#[tokio::test]
async fn lost_end_of_a_log_is_detected() {
    let dir = folder();
    let log = open(dir.path());
    let sessions = written(&log).await;
    let (id, head) = (sessions[0].id(), sessions[0].session.seq());
    let outside = Connection::open(database_path(dir.path())).expect("opens");
    let last = "DELETE FROM commands WHERE sid = 1 AND seq = (SELECT max(seq) FROM commands WHERE sid = 1)";
    outside.execute(last, []).expect("deleted");
    assert!(matches!(log.open(id, 20).await, Err(LogError::Corrupt(_))));
    assert_damaged(&log, id, head).await;
}

/// P12: a session whose own row is damaged is still listed, under its id, and says so when it is read; the others open.
#[tokio::test]
async fn damaged_session_row_is_listed_and_refused() {
    for damage in [
        "UPDATE sessions SET genesis = replace(genesis, '00000007', '00000008') WHERE sid = 1",
        "UPDATE sessions SET genesis = 'no JSON' WHERE sid = 1",
        "UPDATE sessions SET head_seq = head_seq - 2 WHERE sid = 1",
        "UPDATE sessions SET node_count = 9 WHERE sid = 1",
        "UPDATE sessions SET ext_id = '00000000-0000-0000-0000-0000000000ff' WHERE sid = 1",
        "UPDATE sessions SET ext_id = 'no id' WHERE sid = 1",
        "UPDATE sessions SET checksum = NULL WHERE sid = 1",
    ] {
        let dir = folder();
        let log = open(dir.path());
        let sessions = written(&log).await;
        log.close().await;
        let ids: Vec<_> = sessions.iter().map(Writing::id).collect();
        drop((sessions, log));
        let outside = Connection::open(database_path(dir.path())).expect("opens");
        assert_eq!(outside.execute(damage, []), Ok(1), "{damage}");
        drop(outside);
        let log = open(dir.path());
        let listed = log.list().await.expect("readable");
        assert_eq!(
            listed.iter().map(|head| head.header.session_id).collect::<Vec<_>>(),
            ids,
            "{damage}"
        );
        assert!(
            matches!(log.open(ids[0], 20).await, Err(LogError::Corrupt(_))),
            "{damage}"
        );
        assert!(log.open(ids[1], 20).await.is_ok());
    }
}

/// P12: a snapshot that is not what was written is passed over, like one that cannot be read.
#[tokio::test]
async fn changed_snapshot_is_skipped() {
    let dir = folder();
    let log = open(dir.path());
    let sessions = written(&log).await;
    let outside = Connection::open(database_path(dir.path())).expect("opens");
    let changed = outside.execute("UPDATE snapshots SET checksum = checksum + 1", []);
    assert_eq!(changed, Ok(6));
    let stored = log.open(sessions[0].id(), 20).await.expect("readable").expect("there");
    assert!(stored.snapshot.is_none());
    assert_eq!(sessions[0].replayed().await.snapshot(), sessions[0].session.snapshot());
}

/// A database of a hub without checksums opens, is read and written, and what is written has checksums.
#[tokio::test]
async fn older_database_opens_and_goes_on() {
    let dir = folder();
    let log = open(dir.path());
    let mut sessions = written(&log).await;
    log.close().await;
    let mut writing = sessions.remove(0);
    drop((sessions, log));
    let outside = Connection::open(database_path(dir.path())).expect("opens");
    outside
        .execute_batch(
            "ALTER TABLE sessions DROP COLUMN checksum;
             ALTER TABLE commands DROP COLUMN checksum;
             ALTER TABLE snapshots DROP COLUMN checksum;
             UPDATE sessions SET schema_version = 1;
             UPDATE commands SET schema_version = 1;
             UPDATE snapshots SET format = 1;
             PRAGMA user_version = 1;",
        )
        .expect("as it was");
    fs::remove_file(dir.path().join("hub.heads")).unwrap_or_default();
    let log = open(dir.path());
    writing.log = log.clone();
    let stored = log.open(writing.id(), 20).await.expect("readable").expect("there");
    assert!(stored.snapshot.is_some(), "snapshots are still of use");
    assert_eq!(writing.replayed().await.snapshot(), writing.session.snapshot());
    writing.write(&Command::undo(Scope::Session)).await;
    writing.write(&create("new")).await;
    assert_eq!(writing.replayed().await.snapshot(), writing.session.snapshot());
    let count = |query: &str| {
        outside
            .query_row(query, [], |row| row.get::<_, i64>(0))
            .expect("counts")
    };
    assert_eq!(count("SELECT count(*) FROM commands WHERE checksum IS NOT NULL"), 2);
    assert_eq!(
        count("SELECT count(*) FROM sessions WHERE checksum IS NOT NULL AND schema_version = 2"),
        1
    );
    outside
        .execute(
            "UPDATE commands SET payload = replace(payload, 'new', 'old') WHERE checksum IS NOT NULL",
            [],
        )
        .expect("damaged");
    let head = writing.session.seq();
    assert!(matches!(
        log.open_at(writing.id(), head).await,
        Err(LogError::Corrupt(_))
    ));
}

/// P12: with one bit of the write-ahead log flipped after a kill, nothing that was acknowledged is lost without a word: the
/// start is refused, or the sessions that lost something go on in a new epoch.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "says how many were noticed")]
async fn flipped_bit_in_the_write_ahead_log_loses_nothing_silently() {
    let (dir, killed) = (folder(), folder());
    let log = open(dir.path());
    let sessions = written(&log).await;
    copy(dir.path(), killed.path());
    let ids: Vec<_> = sessions
        .iter()
        .map(|writing| (writing.id(), writing.session.seq()))
        .collect();
    let mut before = Vec::new();
    for &(id, head) in &ids {
        before.push(everything(&log, id, head).await);
    }
    let (mut random, mut refused, mut renewed, mut told, mut harmless) = (Random(14), 0, 0, 0, 0);
    for number in 0..=FLIPS {
        let damaged = folder();
        copy(killed.path(), damaged.path());
        // The first is as the kill left it.
        if number > 0 {
            flip(&damaged.path().join("hub.sqlite-wal"), &mut random);
        }
        let Ok(log) = open_damaged(damaged.path()) else {
            refused += 1;
            continue;
        };
        let (mut is_told, mut is_renewed) = (false, false);
        for (&(id, head), before) in ids.iter().zip(&before) {
            let stored = match log.open(id, 20).await {
                Err(_) => {
                    is_told = true;
                    continue;
                }
                Ok(stored) => stored.expect("known"),
            };
            let found = stored.records.last().map_or(Seq::ZERO, |record| record.seq());
            if stored.header.epoch == header(1).epoch {
                assert_eq!(found, head, "session {id} in its old epoch");
                assert_eq!(&everything(&log, id, head).await, before);
            } else {
                assert!(found < head, "session {id} has lost something");
                is_renewed = true;
            }
        }
        assert!(number > 0 || !(is_told || is_renewed), "a kill is no damage");
        told += usize::from(is_told);
        renewed += usize::from(is_renewed);
        harmless += usize::from(!is_told && !is_renewed);
        log.close().await;
        drop(log);
        assert!(open_damaged(damaged.path()).is_ok(), "it was told once");
    }
    eprintln!(
        "write-ahead log: {FLIPS} flips: {refused} refused at the start, {renewed} with new epochs, {told} told by reads, \
         {harmless} harmless"
    );
    assert!(refused + renewed > 10, "some of it matters");
}

/// P12: a torn tail of unanswered commands raises no alarm, nor does a session that was deleted or created again.
#[tokio::test]
async fn torn_tail_is_no_loss() {
    let (dir, killed) = (folder(), folder());
    let log = open(dir.path());
    let sessions = written(&log).await;
    log.delete(sessions[1].id()).await.expect("deleted");
    let again = Writing::begin(&log, 2).await;
    log.delete(sessions[2].id()).await.expect("deleted");
    copy(dir.path(), killed.path());
    let wal = killed.path().join("hub.sqlite-wal");
    let mut bytes = fs::read(&wal).expect("readable");
    let half_a_frame = bytes[32..2_000].to_vec();
    bytes.extend(half_a_frame);
    fs::write(&wal, bytes).expect("written");
    let log = open(killed.path());
    let listed = log.list().await.expect("readable");
    let epochs: Vec<_> = listed
        .iter()
        .map(|head| (head.header.session_id, head.header.epoch))
        .collect();
    let epoch = header(1).epoch;
    assert_eq!(epochs, [(sessions[0].id(), epoch), (again.id(), epoch)]);
    assert_eq!(listed[0].seq, sessions[0].session.seq());
}

/// P12: a missing database is not taken for a new hub, and an older database in its place gets new epochs.
#[tokio::test]
async fn missing_or_older_database_is_detected() {
    let (dir, older) = (folder(), folder());
    let log = open(dir.path());
    let mut sessions = written(&log).await;
    log.close().await;
    let copied = database_path(older.path());
    fs::copy(database_path(dir.path()), &copied).expect("copied");
    let log = open(dir.path());
    sessions[0].log = log.clone();
    sessions[0].write(&create("later")).await;
    log.close().await;
    let ids: Vec<_> = sessions.iter().map(Writing::id).collect();
    drop((sessions, log));

    fs::remove_file(database_path(dir.path())).expect("removed");
    let refused = open_damaged(dir.path()).err().expect("refused").to_string();
    assert!(
        refused.contains("hub.heads") && refused.contains("talus-hub restore"),
        "{refused}"
    );
    fs::write(database_path(dir.path()), "").expect("what a copy of a young hub's database is");
    let refused = open_damaged(dir.path()).err().expect("refused").to_string();
    assert!(
        refused.contains("3 sessions") && refused.contains("talus-hub restore"),
        "{refused}"
    );

    fs::copy(&copied, database_path(dir.path())).expect("copied");
    let log = open(dir.path());
    let listed = log.list().await.expect("readable");
    let is_old = |head: &StoredHead| head.header.epoch == header(1).epoch;
    assert_eq!(
        listed.iter().map(is_old).collect::<Vec<_>>(),
        [false, true, true],
        "{ids:?}"
    );
}

/// P12, P3: commands that are written to a removed or replaced file are not acknowledged, and the hub ends.
#[cfg(unix)]
#[tokio::test]
async fn removed_or_replaced_file_is_fatal() {
    for (name, is_replaced) in [("hub.sqlite", false), ("hub.sqlite", true), ("hub.sqlite-wal", false)] {
        let dir = folder();
        let (fatal, ended) = oneshot::channel();
        let on_fatal: OnFatal = Box::new(move |reason| fatal.send(reason.to_owned()).expect("waited for"));
        let log = SqliteLog::open(dir.path(), &Options::default(), on_fatal).expect("opens");
        let mut writing = Writing::begin(&log, 1).await;
        writing.write(&create("a")).await;
        let path = dir.path().join(name);
        fs::rename(&path, dir.path().join("away")).expect("moved");
        if is_replaced {
            fs::copy(dir.path().join("away"), &path).expect("copied");
        }
        // The append detects the change, or fails because the idle check did.
        let (expected, recorded) = (writing.session.seq(), writing.decided(&create("b")));
        let failed = writing.append(expected, vec![recorded]).await;
        assert!(failed.is_err(), "{name}: {failed:?}");
        let reason = ended.await.expect("the hub ends");
        let what = if is_replaced { "replaced" } else { "removed" };
        assert!(reason.contains(name) && reason.contains(what), "{reason}");
    }
}
