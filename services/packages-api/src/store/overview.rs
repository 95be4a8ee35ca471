//! What somebody who looks wants to see first: how many stand where, and what changed last.

use std::{fmt, str::FromStr};

use packline_domain::PackageName;
use rusqlite::named_params;

use super::{COLUMNS, Entry, Status, Store, StoreError, entry, shown};

/// How many packages have each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// To be built.
    pub ready: u32,
    /// Being built.
    pub building: u32,
    /// In the registry.
    pub published: u32,
    /// Not tried again.
    pub failed: u32,
}

impl Counts {
    /// How many have this status.
    pub fn of(self, status: Status) -> u32 {
        match status {
            Status::Ready => self.ready,
            Status::Building => self.building,
            Status::Published => self.published,
            Status::Failed => self.failed,
        }
    }

    /// How many there are.
    pub fn all(self) -> u32 {
        Status::ALL.into_iter().map(|status| self.of(status)).sum()
    }
}

/// A place in the order of changes: a page begins after it. Written `<milliseconds>-<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    changed_at: i64,
    id: i64,
}

impl Mark {
    /// Before all that has changed.
    pub const NEWEST: Self = Self { changed_at: i64::MAX, id: i64::MAX };

    /// The place of an entry.
    pub fn of(entry: &Entry) -> Self {
        let id = entry.package.id.as_deref().and_then(super::number).unwrap_or_default();
        Self { changed_at: entry.changed_at.map_or(0, packline_domain::Timestamp::as_millis), id }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.changed_at, self.id)
    }
}

impl FromStr for Mark {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let parse = || {
            let (changed_at, id) = text.split_once('-')?;
            Some(Self { changed_at: changed_at.parse().ok()?, id: id.parse().ok()? })
        };
        parse().ok_or_else(|| StoreError::Refused(format!("`{}` is no place in the order of changes", shown(text))))
    }
}

impl Store {
    /// How many packages have each status.
    ///
    /// # Errors
    /// When the database fails.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT status, count(*) FROM packages GROUP BY status")?;
        let mut rows = statement.query([])?;
        let mut counts = Counts::default();
        while let Some(row) = rows.next()? {
            let count = row.get(1)?;
            match row.get::<_, String>(0)?.parse()? {
                Status::Ready => counts.ready = count,
                Status::Building => counts.building = count,
                Status::Published => counts.published = count,
                Status::Failed => counts.failed = count,
            }
        }
        Ok(counts)
    }

    /// At most `limit` packages after `mark`, what changed last first: those with `status` where one is
    /// given, whose names contain `part`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn newest(&self, status: Option<Status>, part: &str, mark: Mark, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let connection = self.connection();
        // an index serves `status =` and no other way of saying the same
        let only = status.map_or("?1 IS NULL", |_| "status = ?1");
        let sql = format!(
            "SELECT {COLUMNS} FROM packages
             WHERE {only} AND (changed_at, id) < (?2, ?3) AND (?4 = '' OR instr(name, ?4) > 0)
             ORDER BY changed_at DESC, id DESC LIMIT ?5"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let wanted = rusqlite::params![status.map(Status::as_str), mark.changed_at, mark.id, part, limit];
        let entries = statement.query_map(wanted, entry)?.collect::<Result<_, _>>()?;
        Ok(entries)
    }

    /// At most `limit` names that begin with `prefix`, in their order.
    ///
    /// # Errors
    /// When the database fails.
    pub fn names(&self, prefix: &str, limit: u32) -> Result<Vec<PackageName>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT name FROM packages WHERE name >= :prefix AND substr(name, 1, length(:prefix)) = :prefix
             ORDER BY name LIMIT :limit",
        )?;
        let names =
            statement.query_map(named_params! {":prefix": prefix, ":limit": limit}, |row| row.get::<_, String>(0))?;
        Ok(names.filter_map(|name| name.map(|name| name.parse().ok()).transpose()).collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use packline_domain::Package;

    use super::*;

    fn names(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.package.name.as_str()).collect()
    }

    #[test]
    fn pages_of_what_changed_last_show_each_package_once_while_others_change() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("packages.db")).unwrap();
        for n in 0..25 {
            store.add(&Package::named(format!("p{n:02}").parse().unwrap())).unwrap();
        }
        let first = store.newest(None, "", Mark::NEWEST, 10).unwrap();
        assert_eq!(names(&first)[..2], ["p24", "p23"]);
        std::thread::sleep(std::time::Duration::from_millis(2));
        store.update("p20", Status::Failed, None).unwrap();
        let second = store.newest(None, "", Mark::of(first.last().unwrap()), 10).unwrap();
        let third = store.newest(None, "", Mark::of(second.last().unwrap()), 10).unwrap();
        assert_eq!((names(&second)[0], names(&third)), ("p14", vec!["p04", "p03", "p02", "p01", "p00"]));
        assert_eq!(names(&store.newest(None, "", Mark::NEWEST, 1).unwrap()), ["p20"], "the last change is first");
        assert_eq!(names(&store.newest(Some(Status::Failed), "", Mark::NEWEST, 10).unwrap()), ["p20"]);
        assert_eq!(names(&store.newest(None, "p1", Mark::NEWEST, 2).unwrap()), ["p19", "p18"]);
        assert_eq!(names(&store.newest(None, "%", Mark::NEWEST, 2).unwrap()), [""; 0], "a part is no pattern");
        let counts = store.counts().unwrap();
        assert_eq!((counts.ready, counts.failed, counts.all()), (24, 1, 25));
        assert_eq!(
            store.names("p2", 3).unwrap().iter().map(PackageName::as_str).collect::<Vec<_>>(),
            ["p20", "p21", "p22"]
        );
    }

    #[test]
    fn another_version_is_to_be_built_also_when_the_build_of_the_last_one_ends_later() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("packages.db")).unwrap();
        let scanned = |version: &str| {
            let mut package = Package::named("core".parse().unwrap());
            package.extra.insert("version".into(), version.into());
            store.merge(&[package]).unwrap()
        };
        let status = || store.get("core").unwrap().status;
        let ended = |status, version: &str| {
            let metadata = serde_json::Map::from_iter([("version".to_owned(), version.into())]);
            store.update("core", status, Some(&metadata)).unwrap().status
        };
        assert_eq!(scanned("1.0.0").new, 1);
        assert_eq!(ended(Status::Published, "1.0.0"), Status::Published);
        assert_eq!((scanned("1.0.0").same, status()), (1, Status::Published), "it is built already");
        assert_eq!((scanned("1.1.0").changed, status()), (1, Status::Ready));
        store.update("core", Status::Building, None).unwrap();
        assert_eq!((scanned("1.2.0").changed, status()), (1, Status::Building));
        assert_eq!(ended(Status::Published, "1.1.0"), Status::Ready, "1.2.0 was not built");
        assert_eq!(ended(Status::Failed, "1.1.0"), Status::Ready);
        assert_eq!(ended(Status::Failed, "1.2.0"), Status::Failed);
        store.update("core", Status::Published, None).unwrap();
        assert_eq!(status(), Status::Published, "whoever does not know the version is believed");
    }

    #[test]
    fn a_mark_is_read_as_it_is_written() {
        let mark = Mark { changed_at: 1_700_000_000_000, id: 3 };
        assert_eq!(mark.to_string().parse::<Mark>().unwrap(), mark);
        for wrong in ["", "1", "-", "a-1", "1-b", "1-2-3", "<script>"] {
            assert!(wrong.parse::<Mark>().is_err(), "{wrong}");
        }
    }
}
