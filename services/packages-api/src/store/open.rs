//! Opening the database, and the tables in it.

use std::{
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::{Store, StoreError};

/// How long a call waits for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// What leads from each version of the tables to the next; the database keeps how many it has seen.
const STEPS: [&str; 5] = [
    "CREATE TABLE packages (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        priority INTEGER NOT NULL,
        category TEXT NOT NULL,
        dependencies TEXT NOT NULL,
        status TEXT NOT NULL,
        metadata TEXT
    ) STRICT;
    CREATE INDEX packages_by_status ON packages (status);",
    "ALTER TABLE packages ADD COLUMN changed_at INTEGER NOT NULL DEFAULT 0;
    DROP INDEX packages_by_status;
    CREATE INDEX packages_by_status ON packages (status, changed_at);
    CREATE INDEX packages_by_change ON packages (changed_at);",
    "ALTER TABLE packages ADD COLUMN version TEXT;",
    "ALTER TABLE packages ADD COLUMN path TEXT;",
    "ALTER TABLE packages ADD COLUMN build_after TEXT NOT NULL DEFAULT '[]';",
];

impl Store {
    /// Opens the database, and makes it where there is none.
    ///
    /// # Errors
    /// When the file is no such database, or one of a newer version.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let mut connection = Connection::open(file)?;
        connection.busy_timeout(BUSY)?;
        use_write_ahead_log(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let Some(missing) = STEPS.get(version as usize..) else {
            let known = STEPS.len();
            return Err(StoreError::Refused(format!("its version is {version}; this program knows version {known}")));
        };
        for step in missing {
            transaction.execute_batch(step)?;
        }
        if !missing.is_empty() {
            let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
            transaction.pragma_update(None, "user_version", known)?;
        }
        transaction.commit()?;
        Ok(Self { connection: Mutex::new(connection) })
    }
}

/// Readers and a writer at the same time. Two processes that switch a new database over at once are refused
/// without waiting, so this waits itself.
fn use_write_ahead_log(connection: &Connection) -> Result<(), StoreError> {
    let since = Instant::now();
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(StoreError::Refused(format!("it cannot have a write-ahead log here, only `{mode}`")));
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && since.elapsed() < BUSY => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use packline_domain::Package;

    use super::*;
    use crate::store::Status;

    #[test]
    fn a_database_of_the_first_version_is_carried_over_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packages.db");
        let old = Connection::open(&file).unwrap();
        old.execute_batch(STEPS[0]).unwrap();
        old.execute_batch(
            "INSERT INTO packages VALUES (7, '@acme/core', 5, 'utils', '[]', 'failed', '{\"error\":\"x\"}');
             PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(old);
        for _ in 0..2 {
            let store = Store::open(&file).unwrap();
            let core = store.get("P7").unwrap();
            assert_eq!(
                (core.package.name.as_str(), core.status, core.changed_at),
                ("@acme/core", Status::Failed, None)
            );
        }
        let store = Store::open(&file).unwrap();
        assert_eq!(store.get("P7").unwrap().package.path, None);
        let added = store.add(&Package::named("new".parse().unwrap())).unwrap();
        assert!(added.changed_at.is_some());
    }

    #[test]
    fn a_database_of_a_newer_program_is_left_alone_and_said_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packages.db");
        Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        assert_eq!(Store::open(&file).unwrap_err().to_string(), "its version is 99; this program knows version 5");
    }
}
