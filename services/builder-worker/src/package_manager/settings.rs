//! The files of settings that an install reads, in place of those of the workspace: what they say, but for the registry
//! to install from, where the manager keeps what it downloads, and what belongs to the workspace itself.

use std::{collections::BTreeMap, path::PathBuf};

use packline_workspace::{Manager, to_yaml};
use serde_json::{Map, Value, json};

use super::{PackageManager, lock};

/// What a workspace says of these is for the machines of its authors.
const OF_PNPM: [&str; 11] = [
    "registry",
    "registries",
    "storeDir",
    "cacheDir",
    "virtualStoreType",
    "useNodeVersion",
    "executionEnv",
    "managePackageManagerVersions",
    "packageManagerStrict",
    "packageManagerStrictVersion",
    "pmOnFail",
];
/// The same.
const OF_YARN: [&str; 8] = [
    "npmRegistryServer",
    "npmPublishRegistry",
    "npmAuthToken",
    "npmAuthIdent",
    "npmAlwaysAuth",
    "npmRegistries",
    "globalFolder",
    "enableTelemetry",
];

impl PackageManager {
    /// The files that an install reads in place of those of the workspace, below its root. `settings` is what the
    /// manager's own file says there, and `read` answers the text of another one. `linked` are versions of members that the
    /// lock file takes from a registry: where there are some, members are linked wherever their versions fit.
    pub(crate) fn settings(
        &self,
        settings: &Value,
        linked: &[(&str, &str)],
        read: impl Fn(&str) -> Option<String>,
    ) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut settings = settings.as_object().cloned().unwrap_or_default();
        if !linked.is_empty() {
            let name =
                if self.manager == Manager::Pnpm { "linkWorkspacePackages" } else { "enableTransparentWorkspaces" };
            settings.insert(name.to_owned(), true.into());
        }
        let files: Vec<(&str, String)> = match self.manager {
            Manager::Npm => Vec::new(),
            Manager::Pnpm => {
                let files = [
                    ("pnpm-workspace.yaml", yaml(self.of_pnpm(settings))),
                    (".npmrc", self.npmrc(&read(".npmrc").unwrap_or_default())),
                ];
                let lock = read("pnpm-lock.yaml").filter(|_| !linked.is_empty());
                let lock = lock.and_then(|lock| Some(("pnpm-lock.yaml", lock::without_of_pnpm(&lock, linked)?)));
                files.into_iter().chain(lock).collect()
            }
            Manager::YarnClassic => {
                let lock = read("yarn.lock").map(|lock| ("yarn.lock", self.with_own_hosts(&lock)));
                let rc = self.yarnrc(&read(".yarnrc").unwrap_or_default());
                let npmrc = self.npmrc(&read(".npmrc").unwrap_or_default());
                [(".yarnrc", rc), (".npmrc", npmrc)].into_iter().chain(lock).collect()
            }
            Manager::YarnBerry => {
                let lock = read("yarn.lock").filter(|_| !linked.is_empty());
                let lock = lock.map(|lock| ("yarn.lock", lock::without_of_yarn(&lock, linked)));
                [(".yarnrc.yml", yaml(self.of_yarn(settings)))].into_iter().chain(lock).collect()
            }
        };
        files.into_iter().map(|(file, text)| (PathBuf::from(file), text.into_bytes())).collect()
    }

    fn of_pnpm(&self, mut settings: Map<String, Value>) -> Map<String, Value> {
        settings.retain(|name, _| !OF_PNPM.contains(&name.as_str()));
        settings.insert("enableGlobalVirtualStore".to_owned(), false.into());
        settings.insert("packageImportMethod".to_owned(), "clone-or-copy".into());
        // It would wait for more than a minute between them.
        settings.insert("fetchRetryMintimeout".to_owned(), 1000.into());
        settings.insert("fetchRetryMaxtimeout".to_owned(), 5000.into());
        for exempts in ["minimumReleaseAgeExclude", "trustPolicyExclude"] {
            // Where the gate is off, an exemption is a setting that is not known to every version.
            if self.version.major >= 11 || settings.contains_key(exempts.trim_end_matches("Exclude")) {
                self.exempt(&mut settings, exempts);
            }
        }
        settings
    }

    fn of_yarn(&self, mut settings: Map<String, Value>) -> Map<String, Value> {
        settings.retain(|name, _| !OF_YARN.contains(&name.as_str()));
        if let Some(Value::Object(scopes)) = settings.get_mut("npmScopes") {
            for scope in scopes.values_mut().filter_map(Value::as_object_mut) {
                scope.retain(|name, _| !OF_YARN.contains(&name.as_str()));
            }
        }
        let registry = &self.npm.registry;
        settings.insert("npmRegistryServer".to_owned(), registry.as_str().into());
        if let Some(host) = registry.strip_prefix("http://").and_then(|rest| rest.split(['/', ':']).next()) {
            let list = settings.entry("unsafeHttpWhitelist").or_insert_with(|| json!([]));
            if let Value::Array(hosts) = list {
                hosts.push(host.into());
            }
        }
        if self.knows_age_gate() {
            self.exempt(&mut settings, "npmPreapprovedPackages");
        }
        if self.is_pnp {
            // What is loaded names the archives by their paths, so they belong to what is installed.
            settings.insert("enableGlobalCache".to_owned(), false.into());
            settings.insert("cacheFolder".to_owned(), "./.yarn/cache".into());
        } else {
            settings.insert("enableGlobalCache".to_owned(), true.into());
            settings.remove("cacheFolder");
        }
        settings
    }

    /// From 4.10 on Yarn has one, which knows exemptions; before it is a setting that Yarn refuses.
    fn knows_age_gate(&self) -> bool {
        (self.version.major, self.version.minor) >= (4, 10)
    }

    /// Takes the packages of the workspace out of a rule for those of others: this pipeline has published them a moment
    /// ago.
    fn exempt(&self, settings: &mut Map<String, Value>, list: &str) {
        if let Value::Array(names) = settings.entry(list).or_insert_with(|| json!([])) {
            names.extend(self.own.iter().map(|name| Value::from(name.as_str())));
        }
    }

    /// Settings as npm writes them, for managers that read them too.
    fn npmrc(&self, theirs: &str) -> String {
        let names_registry = |line: &&str| {
            let key = line.split('=').next().unwrap_or_default().trim();
            key == "registry" || key.ends_with(":registry") || key.starts_with("//") || is_own(key)
        };
        let mut text: String =
            theirs.lines().filter(|line| !names_registry(line)).flat_map(|line| [line, "\n"]).collect();
        let registry = &self.npm.registry;
        text.push_str(&format!("registry={registry}/\n"));
        text.extend(self.npm.scopes.iter().map(|scope| format!("{scope}:registry={registry}/\n")));
        if self.manager == Manager::Pnpm && self.version.major < 11 {
            text.push_str("package-import-method=clone-or-copy\nmanage-package-manager-versions=false\n");
            text.push_str("fetch-retry-mintimeout=1000\nfetch-retry-maxtimeout=5000\n");
        }
        text
    }

    fn yarnrc(&self, theirs: &str) -> String {
        let is_read = |line: &&str| {
            let key = line.split_whitespace().next().unwrap_or_default().trim_matches('"');
            key != "registry" && key != "yarn-offline-mirror" && !key.ends_with(":registry")
        };
        let text: String = theirs.lines().filter(is_read).flat_map(|line| [line, "\n"]).collect();
        text + &format!("registry \"{}\"\n", self.npm.registry)
    }

    /// Yarn before version 2 asks the hosts of the lock file, whatever its settings say.
    fn with_own_hosts(&self, lock: &str) -> String {
        let own = |line: &str| {
            let address = line.strip_prefix("  resolved \"")?;
            let (before, file) = address.split_once("/-/")?;
            // What is no package of a registry has another form.
            let mut parts = before.rsplitn(3, '/');
            let (name, scope) = (parts.next()?, parts.next()?);
            let scope = if scope.starts_with('@') { format!("{scope}/") } else { String::new() };
            Some(format!("  resolved \"{}/{scope}{name}/-/{file}", self.npm.registry))
        };
        let lines = lock.lines().map(|line| own(line).unwrap_or_else(|| line.to_owned()) + "\n");
        lines.collect()
    }
}

fn yaml(settings: Map<String, Value>) -> String {
    let settings = Value::Object(settings);
    // JSON is YAML, too.
    to_yaml(&settings).unwrap_or_else(|_| settings.to_string())
}

/// Settings of pnpm that are not the workspace's to choose.
fn is_own(key: &str) -> bool {
    ["store-dir", "package-import-method", "manage-package-manager-versions", "use-node-version", "cache-dir"]
        .contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package_manager::tests::package_manager;

    #[test]
    fn a_lock_file_of_the_older_yarn_names_the_registry_of_the_build() {
        let yarn = package_manager(Manager::YarnClassic, "1.22.22");
        let lock = |one: &str, two: &str| {
            format!(
                "a@1:\n  resolved \"{one}a/-/a-1.0.0.tgz#f0\"\nb@1:\n  resolved \"{two}@s/b/-/b-1.0.0.tgz#f1\"\nc:\n  resolved \"git+https://x.example/c.git#1\"\n"
            )
        };
        let theirs = lock("https://one.example/", "http://two.example/npm/");
        let own = "http://127.0.0.1:4873/";
        assert_eq!(yarn.with_own_hosts(&theirs), lock(own, own));
    }

    #[test]
    fn settings_stay_but_for_registries_and_the_packages_of_the_workspace_have_any_age() {
        let of = |manager, version: &str, settings: Value| {
            let files = package_manager(manager, version).settings(&settings, &[], |_| {
                Some("registry=https://x.example/\n@y:registry=https://x.example/\nhoist=false\n".to_owned())
            });
            files
                .into_iter()
                .map(|(name, text)| (name.display().to_string(), String::from_utf8(text).unwrap()))
                .collect::<BTreeMap<_, _>>()
        };
        let pnpm = of(
            Manager::Pnpm,
            "12.0.0",
            json!({"packages": ["a"], "storeDir": "/x", "minimumReleaseAgeExclude": ["b"], "hoist": true}),
        );
        let read = packline_workspace::parse_yaml(&pnpm["pnpm-workspace.yaml"]).unwrap();
        assert_eq!(read["minimumReleaseAgeExclude"], json!(["b", "@acme/core"]));
        assert_eq!((&read["packages"], &read["hoist"], read.get("storeDir")), (&json!(["a"]), &json!(true), None));
        assert!(!pnpm[".npmrc"].contains("x.example") && pnpm[".npmrc"].contains("hoist=false\n"), "{pnpm:?}");
        let older = of(Manager::Pnpm, "10.0.0", json!({"packages": ["a"]}));
        assert!(!older["pnpm-workspace.yaml"].contains("minimumReleaseAgeExclude"), "pnpm 10 has no gate by itself");
        let yarn = of(
            Manager::YarnBerry,
            "4.18.0",
            json!({"npmRegistryServer": "https://x.example", "npmScopes": {"y": {"npmRegistryServer": "https://x.example"}}}),
        );
        let read = packline_workspace::parse_yaml(&yarn[".yarnrc.yml"]).unwrap();
        assert_eq!(read["npmPreapprovedPackages"], json!(["@acme/core"]));
        assert_eq!(
            (&read["npmRegistryServer"], &read["unsafeHttpWhitelist"]),
            (&json!("http://127.0.0.1:4873"), &json!(["127.0.0.1"]))
        );
        assert_eq!(read["npmScopes"], json!({"y": {}}));
    }
}
