//! The catalogue's database: all SQL stands here and below.

mod open;
mod overview;

use std::{
    fmt,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use packline_domain::{Package, PackageName, PackagePath, Timestamp, path::PathError};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde_json::{Map, Value};

pub use overview::{Counts, Mark};

const COLUMNS: &str =
    "id, name, priority, category, dependencies, status, metadata, changed_at, version, path, build_after";

/// Where a package stands for the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// To be built.
    Ready,
    /// Being built.
    Building,
    /// In the registry.
    Published,
    /// It will not be tried again.
    Failed,
}

impl Status {
    /// All of them, what wants looking at first.
    pub const ALL: [Self; 4] = [Self::Failed, Self::Building, Self::Ready, Self::Published];

    /// As it is stored and answered.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Building => "building",
            Self::Published => "published",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        match text {
            // a build that was interrupted is reported as queued: it is to be built
            "ready" | "queued" => Ok(Self::Ready),
            "building" => Ok(Self::Building),
            "published" => Ok(Self::Published),
            "failed" => Ok(Self::Failed),
            _ => Err(StoreError::Refused(format!(
                "`{}` is no status; a status is ready, building, published or failed",
                shown(text)
            ))),
        }
    }
}

/// A text of a stranger in a line for people.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The caller asked for something that cannot be; one line that says what can.
    #[error("{0}")]
    Refused(String),
    /// The database itself failed.
    #[error("the database failed: {0}")]
    Database(#[from] rusqlite::Error),
}

/// One package of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it is; its `id` is always there.
    pub package: Package,
    /// Where it stands.
    pub status: Status,
    /// What was said about it with its last status.
    pub metadata: Option<Map<String, Value>>,
    /// When its status was last written; unknown where an older version of this program did.
    pub changed_at: Option<Timestamp>,
}

impl Entry {
    /// Whether its last status says that it is private: published then means built.
    pub fn is_private(&self) -> bool {
        let said = self.metadata.as_ref().and_then(|metadata| metadata.get("private"));
        said == Some(&Value::Bool(true))
    }
}

/// What [`Store::merge`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Packages that the catalogue did not know.
    pub new: usize,
    /// Packages that are described differently now.
    pub changed: usize,
    /// Packages that are as before.
    pub same: usize,
}

/// The open database. Other processes may have it open as well.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        // a panic leaves no transaction behind: dropping one rolls it back
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All packages that are to be built or being built, in no order.
    ///
    /// # Errors
    /// When the database fails.
    pub fn unfinished(&self) -> Result<Vec<Entry>, StoreError> {
        let connection = self.connection();
        let sql = format!("SELECT {COLUMNS} FROM packages WHERE status IN ('ready', 'building')");
        let mut statement = connection.prepare_cached(&sql)?;
        let entries = statement.query_map([], entry)?.collect::<Result<_, _>>()?;
        Ok(entries)
    }

    /// At most `limit` packages in the order of their names, after the name `after`, with `status` where one is given.
    ///
    /// # Errors
    /// When the database fails.
    pub fn list(&self, status: Option<Status>, after: &str, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let connection = self.connection();
        let sql = format!(
            "SELECT {COLUMNS} FROM packages WHERE name > ?1 AND (?2 IS NULL OR status = ?2) ORDER BY name LIMIT ?3"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let entries = statement.query_map(params![after, status.map(Status::as_str), limit], entry)?;
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// The package of this name or id.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name_or_id: &str) -> Result<Entry, StoreError> {
        find(&self.connection(), name_or_id)
    }

    /// Adds a package that is to be built.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn add(&self, package: &Package) -> Result<Entry, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(known) = by_name(&transaction, package.name.as_str())? {
            let id = known.package.id.unwrap_or_default();
            return Err(StoreError::Refused(format!("{} is in the catalogue already, as {id}", package.name)));
        }
        insert(&transaction, package)?;
        let added = find(&transaction, package.name.as_str())?;
        transaction.commit()?;
        Ok(added)
    }

    /// Writes where a package stands, and what is said about it. The end of a build of an earlier version
    /// than the one that a scan has found since leaves it to be built.
    ///
    /// # Errors
    /// When there is no such package.
    pub fn update(
        &self,
        name_or_id: &str,
        status: Status,
        metadata: Option<&Map<String, Value>>,
    ) -> Result<Entry, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let name = find(&transaction, name_or_id)?.package.name;
        let built = metadata.and_then(|metadata| metadata.get("version")).and_then(Value::as_str);
        let metadata = metadata.map(|metadata| Value::Object(metadata.clone()).to_string());
        transaction
            .prepare_cached(
                "UPDATE packages SET metadata = ?3, changed_at = ?4, status =
                     CASE WHEN ?2 IN ('published', 'failed') AND ?5 <> version THEN 'ready' ELSE ?2 END
                 WHERE name = ?1",
            )?
            .execute(params![name.as_str(), status.as_str(), metadata, now(), built])?;
        let updated = find(&transaction, name.as_str())?;
        transaction.commit()?;
        Ok(updated)
    }

    /// Writes what a scan found, all or nothing: new packages are to be built, and so are those that are done
    /// and have another version since, or failed and are in another folder since; other known ones are described
    /// again and stay where they stand.
    ///
    /// # Errors
    /// When the database fails.
    pub fn merge(&self, packages: &[Package]) -> Result<Merged, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut merged = Merged::default();
        for package in packages {
            match by_name(&transaction, package.name.as_str())? {
                None => {
                    insert(&transaction, package)?;
                    merged.new += 1;
                }
                Some(known) => {
                    let renewed = note_version(&transaction, package)?;
                    if known.package.path != package.path {
                        try_again(&transaction, package)?;
                    }
                    if !renewed && describes_the_same(&known.package, package) {
                        merged.same += 1;
                        continue;
                    }
                    transaction
                        .prepare_cached(
                            "UPDATE packages
                             SET priority = ?2, category = ?3, dependencies = ?4, path = ?5, build_after = ?6
                             WHERE name = ?1",
                        )?
                        .execute(params![
                            package.name.as_str(),
                            package.priority,
                            package.category,
                            names(&package.dependencies),
                            path(package),
                            names(&package.build_after)
                        ])?;
                    merged.changed += 1;
                }
            }
        }
        transaction.commit()?;
        Ok(merged)
    }
}

fn insert(transaction: &Transaction<'_>, package: &Package) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO packages
                 (name, priority, category, dependencies, status, changed_at, version, path, build_after)
             VALUES (?1, ?2, ?3, ?4, 'ready', ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            package.name.as_str(),
            package.priority,
            package.category,
            names(&package.dependencies),
            now(),
            version(package),
            path(package),
            names(&package.build_after)
        ])?;
    Ok(())
}

/// The version of a package as its scan found it.
fn version(package: &Package) -> Option<&str> {
    package.extra.get("version").and_then(serde_json::Value::as_str)
}

/// The folder of a package, where it is another than its name says.
fn path(package: &Package) -> Option<&str> {
    package.path.as_ref().map(PackagePath::as_str)
}

/// A package that failed where it was before is to be built where it is now.
fn try_again(transaction: &Transaction<'_>, package: &Package) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "UPDATE packages SET status = 'ready', metadata = NULL, changed_at = ?2
             WHERE name = ?1 AND status = 'failed'",
        )?
        .execute(params![package.name.as_str(), now()])?;
    Ok(())
}

/// Notes the version that a scan found. Whether it is another than the one known before, which makes a package
/// that was done ready again; the first that is noted changes nothing.
fn note_version(transaction: &Transaction<'_>, package: &Package) -> Result<bool, StoreError> {
    let Some(version) = version(package) else { return Ok(false) };
    let name = package.name.as_str();
    let known: Option<String> = transaction
        .prepare_cached("SELECT version FROM packages WHERE name = ?1")?
        .query_row([name], |row| row.get(0))?;
    if known.as_deref() == Some(version) {
        return Ok(false);
    }
    transaction.prepare_cached("UPDATE packages SET version = ?2 WHERE name = ?1")?.execute(params![name, version])?;
    if known.is_none() {
        return Ok(false);
    }
    transaction
        .prepare_cached(
            "UPDATE packages SET status = 'ready', metadata = NULL, changed_at = ?2
             WHERE name = ?1 AND status IN ('published', 'failed')",
        )?
        .execute(params![name, now()])?;
    Ok(true)
}

/// Milliseconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn by_name(connection: &Connection, name: &str) -> Result<Option<Entry>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM packages WHERE name = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([name], entry).optional()?)
}

fn find(connection: &Connection, name_or_id: &str) -> Result<Entry, StoreError> {
    let found = match number(name_or_id) {
        None => by_name(connection, name_or_id)?,
        Some(id) => {
            let sql = format!("SELECT {COLUMNS} FROM packages WHERE id = ?1");
            connection.prepare_cached(&sql)?.query_row([id], entry).optional()?
        }
    };
    found.ok_or_else(|| {
        StoreError::Refused(format!("`{}` is not in the catalogue; packages_list names what is", shown(name_or_id)))
    })
}

/// An id is `P` and a number; no name has a capital letter, so the two never meet.
fn number(id: &str) -> Option<i64> {
    id.strip_prefix('P')?.parse().ok()
}

fn names(names: &[PackageName]) -> String {
    Value::from(names.iter().map(PackageName::as_str).collect::<Vec<_>>()).to_string()
}

fn describes_the_same(known: &Package, found: &Package) -> bool {
    known.priority == found.priority
        && known.category == found.category
        && known.dependencies == found.dependencies
        && known.build_after == found.build_after
        && known.path == found.path
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let unreadable = |column: usize, error: String| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    };
    let name: String = row.get(1)?;
    let mut package = Package::named(name.parse().map_err(|error| unreadable(1, format!("{error}")))?);
    package.id = Some(format!("P{}", row.get::<_, i64>(0)?));
    package.priority = row.get(2)?;
    package.category = row.get(3)?;
    let names = |column: usize| {
        serde_json::from_str(&row.get::<_, String>(column)?).map_err(|error| unreadable(column, error.to_string()))
    };
    package.dependencies = names(4)?;
    package.build_after = names(10)?;
    let status = row.get::<_, String>(5)?.parse().map_err(|error: StoreError| unreadable(5, error.to_string()))?;
    let metadata = row.get::<_, Option<String>>(6)?.map(|text| serde_json::from_str(&text)).transpose();
    let metadata = metadata.map_err(|error| unreadable(6, error.to_string()))?;
    if let Some(version) = row.get::<_, Option<String>>(8)? {
        package.extra.insert("version".to_owned(), version.into());
    }
    let path = row.get::<_, Option<String>>(9)?.map(|text| text.parse()).transpose();
    package.path = path.map_err(|error: PathError| unreadable(9, error.to_string()))?;
    let changed_at = Some(row.get(7)?).filter(|millis| *millis > 0).map(Timestamp::from_millis);
    Ok(Entry { package, status, metadata, changed_at })
}
