//! Members that a build needs through the tools that are installed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::{Installed, Kind, Manager, Member, MemberId, Workspace, classic, locked};

/// Lock files of npm at a root; it reads the first that is there.
const LOCK_FILES: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];

impl Workspace {
    /// For each member the others that installed tools lead to, of the root and of the member itself: its build may load
    /// them without naming them. Reads the lock file at the root; without one, none are known.
    pub fn needed_by_tools(&self) -> BTreeMap<MemberId, BTreeSet<MemberId>> {
        let mut for_all = BTreeSet::new();
        let mut by_member = vec![BTreeSet::new(); self.members().len()];
        let lock = self.installed();
        if let Some(installed) = lock.as_ref().and_then(Installed::of) {
            let folders: HashMap<&Path, MemberId> =
                self.members().iter().map(|member| (member.real_folder(), member.id())).collect();
            let root = (Path::new(""), self.manifest().fields());
            let members = self.members().iter().map(|member| (member.real_folder(), member.manifest().fields()));
            let needed = installed.needed_by_tools(std::iter::once(root).chain(members));
            let mut needed = needed.into_iter().map(|needed| {
                needed.iter().filter_map(|folder| folders.get(folder.as_path()).copied()).collect::<BTreeSet<_>>()
            });
            for_all = needed.next().unwrap_or_default();
            by_member = needed.collect();
        }
        let with_own = |(member, mut needed): (&Member, BTreeSet<MemberId>)| {
            needed.extend(&for_all);
            needed.remove(&member.id());
            (member.id(), needed)
        };
        self.members().iter().zip(by_member).map(with_own).collect()
    }

    /// What the lock file at the root installs, as a lock file of npm says it; see [`Installed::of`]. `None` where there is
    /// none, or it does not know which members are linked.
    pub fn installed(&self) -> Option<Value> {
        match (self.kind(), self.manager()) {
            (Kind::Workspaces, Manager::Npm) => {
                let read = LOCK_FILES.iter().find_map(|name| fs::read(self.root().join(name)).ok())?;
                packline_json::parse(&read).ok()
            }
            (_, Manager::Pnpm) => Some(locked::of_pnpm(self.lock.as_deref()?)),
            (Kind::Workspaces, Manager::YarnClassic) => {
                Some(classic::installed(self.lock.as_deref()?, self.manifest(), self.members()))
            }
            (_, Manager::YarnBerry) => Some(locked::of_yarn(self.lock.as_deref()?)),
            _ => None,
        }
    }

    /// The public members whose version the lock file of pnpm or Yarn takes from a registry, although it stands here: name
    /// and version.
    pub fn locked_elsewhere(&self) -> Vec<(&str, &str)> {
        let Some(lock) = self.lock.as_deref() else { return Vec::new() };
        let keys = |field: &str| lock.get(field).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key);
        let installed: BTreeSet<&str> = match self.manager() {
            Manager::Pnpm => keys("packages")
                .chain(keys("snapshots"))
                .filter_map(|key| key.trim_start_matches('/').split('(').next())
                .collect(),
            Manager::YarnBerry => {
                let entries = lock.as_object().into_iter().flatten();
                entries.filter_map(|(_, entry)| entry.get("resolution")?.as_str()).collect()
            }
            Manager::Npm | Manager::YarnClassic => return Vec::new(),
        };
        let between = if self.manager() == Manager::Pnpm { "@" } else { "@npm:" };
        let public = self.members().iter().map(Member::manifest).filter(|manifest| !manifest.is_private());
        let named = public.filter_map(|manifest| Some((manifest.name()?, manifest.version()?)));
        named.filter(|(name, version)| installed.contains([*name, between, *version].concat().as_str())).collect()
    }
}
