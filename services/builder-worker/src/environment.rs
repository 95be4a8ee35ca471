//! The environment of a phase: an allow-list and what Packline tells it, nothing of the worker's own.

use std::{collections::BTreeMap, path::Path};

use packline_domain::BuildOrder;

use crate::folder::BuildFolder;

/// Passed on as they are: where programs and certificates are, and how text is written.
const PASSED_ON: [&str; 8] =
    ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"];
/// Passed on unless they name a user or a password.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];
/// The longest value of a variable, in bytes: beyond 128 KiB the kernel starts nothing.
const LONGEST: usize = 100 * 1024;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What all phases of a build find in their environment; `own` is the worker's.
pub fn of_build(
    order: &BuildOrder,
    folder: &BuildFolder,
    registry: Option<&str>,
    own: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        env.insert(name.to_owned(), value);
    };
    set("PATH", DEFAULT_PATH.to_owned());
    set("LANG", "C.UTF-8".to_owned());
    for name in PASSED_ON {
        if let Some(value) = own(name) {
            set(name, value);
        }
    }
    for name in PROXIES {
        if let Some(value) = own(name).filter(|value| !value.contains('@')) {
            set(name, value);
        }
    }
    // HOME is the build's own; rustup's programs are on PATH, and look there for what they start.
    let rustup = own("RUSTUP_HOME").or_else(|| Some(format!("{}/.rustup", own("HOME")?)));
    if let Some(rustup) = rustup.filter(|rustup| Path::new(rustup).is_dir()) {
        set("RUSTUP_HOME", rustup);
    }
    let shown = |path: &Path| path.display().to_string();
    set("TERM", "dumb".to_owned());
    set("CI", "true".to_owned());
    set("HOME", shown(&folder.home()));
    set("TMPDIR", shown(&folder.temporary()));
    set("PACKAGE_NAME", order.package_name.to_string());
    set("PACKAGE_PATH", order.package_path.to_string());
    set("PLAN_PATH", format!("plans/{}.md", order.package_name.unscoped()));
    // An environment holds no zero bytes, and a category is free text.
    set("CATEGORY", order.category.replace('\0', ""));
    let dependencies = serde_json::to_string(&order.dependencies).unwrap_or_else(|_| "[]".to_owned());
    if dependencies.len() <= LONGEST {
        set("DEPENDENCIES", dependencies);
    } else {
        tracing::warn!("{} has too many dependencies for one variable; DEPENDENCIES is left out", order.package_name);
    }
    set("WORKSPACE_ROOT", shown(&folder.root));
    if let Some(registry) = registry {
        set("NPM_REGISTRY", registry.to_owned());
    }
    set("BUILD_ID", order.build_id.to_string());
    set("ATTEMPT", order.attempt.to_string());
    env
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::isolated;
    use serde_json::json;

    #[test]
    fn a_recipe_can_set_nothing_that_we_tell_a_phase() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("root/packages/core")).unwrap();
        std::fs::create_dir(place.path().join("scratch")).unwrap();
        let order: BuildOrder = serde_json::from_value(order(&["@acme/a".to_owned()])).unwrap();
        let (scratch, root) = (place.path().join("scratch"), place.path().join("root"));
        let folder = prepare(&scratch, &root, &order);
        let env = of_build(&order, &folder, Some("http://127.0.0.1:1"), |_| None);
        let general = ["PATH", "LANG", "TERM", "CI", "HOME", "TMPDIR"];
        for name in env.keys().filter(|name| !general.contains(&name.as_str())) {
            assert!(packline_recipe::OWN_VARIABLES.contains(&name.as_str()), "{name}");
        }
        assert_eq!(of_build(&order, &folder, None, |_| None).get("NPM_REGISTRY"), None);
        let moved = BuildOrder { package_path: "src/core".parse().unwrap(), ..order };
        let env = of_build(&moved, &folder, None, |_| None);
        let paths = ["PACKAGE_PATH", "PLAN_PATH"].map(|name| env.get(name).map(String::as_str));
        assert_eq!(paths, [Some("src/core"), Some("plans/core.md")]);
    }

    #[test]
    fn toolchains_of_rustup_are_found_although_home_is_the_builds_own() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("root/packages/core")).unwrap();
        for folder in ["scratch", "user/.rustup", "rustup"] {
            std::fs::create_dir_all(place.path().join(folder)).unwrap();
        }
        let order: BuildOrder = serde_json::from_value(order(&[])).unwrap();
        let (scratch, root) = (place.path().join("scratch"), place.path().join("root"));
        let folder = prepare(&scratch, &root, &order);
        let shown = |path: &str| place.path().join(path).display().to_string();
        let found = |own: &[(&str, String)]| {
            let own: BTreeMap<&str, String> = own.iter().cloned().collect();
            of_build(&order, &folder, None, |name| own.get(name).cloned()).remove("RUSTUP_HOME")
        };
        assert_eq!(found(&[("HOME", shown("user"))]), Some(shown("user/.rustup")));
        assert_eq!(found(&[("HOME", shown("user")), ("RUSTUP_HOME", shown("rustup"))]), Some(shown("rustup")));
        assert_eq!(found(&[("HOME", shown("rustup"))]), None);
    }

    fn prepare(scratch: &Path, root: &Path, order: &BuildOrder) -> BuildFolder {
        let stop = AtomicBool::new(false);
        isolated::prepare(scratch, root, &order.package_path, &order.build_id, &stop).unwrap()
    }

    fn order(dependencies: &[String]) -> serde_json::Value {
        json!({
            "schema": 1, "buildId": "acme/core.1", "attempt": 1, "permit": 0, "permitRevision": 1,
            "grantedAt": "2026-01-01T00:00:00Z", "packageName": "@acme/core", "packagePath": "packages/core",
            "planPath": "plans/core.md", "category": "a\0b", "dependencies": dependencies, "priority": 0,
            "config": {}, "integrities": [], "deadlineSeconds": 60
        })
    }

    #[test]
    fn no_variable_is_longer_than_the_kernel_takes() {
        let place = tempfile::tempdir().unwrap();
        let (root, scratch) = (place.path().join("root"), place.path().join("scratch"));
        std::fs::create_dir_all(root.join("packages/core")).unwrap();
        std::fs::create_dir(&scratch).unwrap();
        let of_dependencies = |count: usize| {
            let dependencies: Vec<String> = (0..count).map(|n| format!("@acme/{}{n}", "d".repeat(100))).collect();
            let order: BuildOrder = serde_json::from_value(order(&dependencies)).unwrap();
            let folder = prepare(&scratch, &root, &order);
            let env = of_build(&order, &folder, Some("http://127.0.0.1:1"), |_| None);
            folder.remove();
            env
        };
        assert!(of_dependencies(3).get("DEPENDENCIES").unwrap().starts_with("[\"@acme/d"));
        let env = of_dependencies(2000);
        assert_eq!(env.get("DEPENDENCIES"), None);
        assert!(env.values().all(|value| value.len() < 128 * 1024));
        assert_eq!(env.get("CATEGORY").unwrap(), "ab");
    }
}
