//! Dependencies come from the registry, as just published, never from the folder of a sibling.

use std::path::{Component, Path};

use crate::manifest::Manifest;

/// Checks where npm would take the dependencies from: from outside the package npm would link a folder that
/// is not in the copy, say nothing, and publish what nobody else can install.
///
/// # Errors
/// One line that says which one, and what would be right.
pub(crate) fn check(manifest: &Manifest) -> Result<(), String> {
    let kinds = [&manifest.dependencies, &manifest.dev_dependencies, &manifest.optional_dependencies];
    for (name, from) in kinds.into_iter().filter_map(|kind| kind.as_object()).flatten() {
        if let Some(from) = from.as_str().filter(|from| leads_out(from)) {
            let plain = |text: &str| text.chars().take(200).flat_map(char::escape_debug).collect::<String>();
            return Err(format!(
                "the dependency {} is taken from `{}`, outside of the package; name a version, it comes from the registry",
                plain(name),
                plain(from)
            ));
        }
    }
    Ok(())
}

/// Whether npm would take this from a folder outside of the package, or not understand it.
fn leads_out(from: &str) -> bool {
    if from.starts_with("workspace:") {
        return true;
    }
    let path = ["file:", "link:", "portal:"].iter().find_map(|kind| from.strip_prefix(kind));
    let is_path = ["/", "~/", "./", ".."].iter().any(|start| from.starts_with(start));
    match path {
        Some(path) => is_outside(path),
        None => is_path && is_outside(from),
    }
}

fn is_outside(path: &str) -> bool {
    let mut depth = 0_usize;
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) if depth == 0 && name == "~" => return true,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_outside_of_the_package_is_no_place_to_take_a_dependency_from() {
        for outside in [
            "file:../core",
            "../core",
            "file:./lib/../../core",
            "link:../core",
            "workspace:^",
            "workspace:*",
            "/opt/core",
            "file:///opt/core",
            "~/core",
            "file:~/core",
            "..",
        ] {
            for kind in ["dependencies", "devDependencies", "optionalDependencies"] {
                let manifest: Manifest = serde_json::from_value(json!({ kind: {"@acme/core": outside} })).unwrap();
                let refusal = check(&manifest).unwrap_err();
                assert!(refusal.contains(&format!("@acme/core is taken from `{outside}`")), "{refusal}");
            }
        }
        for inside in [
            "^1.0.0",
            "~1.2.3",
            "~0.1",
            "1.x",
            "latest",
            "",
            "*",
            "npm:other@1",
            "file:./vendor/core",
            "./vendor/x.tgz",
            "git+ssh://example.com/a.git",
            "https://example.com/a.tgz",
            "acme/core",
            ">=1 <2",
        ] {
            let manifest: Manifest = serde_json::from_value(json!({"dependencies": {"core": inside}})).unwrap();
            assert_eq!(check(&manifest), Ok(()), "{inside}");
        }
        let odd: Manifest =
            serde_json::from_value(json!({"dependencies": ["../core"], "devDependencies": null})).unwrap();
        assert_eq!(check(&odd), Ok(()));
    }
}
