//! The workspace that workers copy from.

use std::path::PathBuf;

use packline_packages_api::scan;

use super::Finding;
use crate::operator::shown::counted;

const ABOUT: &str = "workspace";
/// Where workers look when nobody says it.
const USUAL: &str = "/workspace";

/// Looks for packages.
pub(super) fn look() -> Finding {
    let named = std::env::var_os("WORKSPACE_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from);
    let is_named = named.is_some();
    let root = named.unwrap_or_else(|| USUAL.into());
    if !is_named && !root.exists() {
        return Finding::unknown(ABOUT, "not looked at", "WORKSPACE_ROOT, as the workers have it, says where it is");
    }
    match scan::scan(&root) {
        Err(error) => {
            let mend = "a workspace has `workspaces` in its package.json, a lerna.json, or is one package with a name and a version; \
                 with a recipe of your own none is needed";
            Finding::bad(ABOUT, error.to_string(), mend)
        }
        Ok(found) if found.packages.is_empty() => Finding::bad(
            ABOUT,
            format!("no package in {}", root.display()),
            "`workspaces` of its package.json, or `packages` of its lerna.json, name the folders of packages",
        ),
        Ok(found) => {
            let text = format!("{} in {}", counted(found.packages.len(), "package"), root.display());
            match found.notes.as_slice() {
                [] => Finding::good(ABOUT, text),
                [note, ..] => Finding::good(ABOUT, format!("{text}; {}: {note}", counted(found.notes.len(), "note"))),
            }
        }
    }
}
