//! The TypeScript SDK of MCP, installed from a lock file, and the Node that runs it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tokio::sync::OnceCell;

use crate::process::command;

use super::{Missing, aside, keep, last_line, node, output};

/// What is written into the folder: the first two pin what is installed, the others let scripts find it.
const FILES: [(&str, &str); 4] = [
    ("package.json", include_str!("../../typescript/package.json")),
    ("package-lock.json", include_str!("../../typescript/package-lock.json")),
    ("resolve.mjs", include_str!("../../typescript/resolve.mjs")),
    ("hooks.mjs", include_str!("../../typescript/hooks.mjs")),
];

/// An installed `@modelcontextprotocol/sdk`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeScript {
    /// The folder that holds `node_modules`.
    pub home: PathBuf,
}

impl TypeScript {
    /// Runs a module (`.mjs`) that may import the SDK, wherever the module is: arguments may follow.
    pub fn command(&self, script: &Path) -> Command {
        let mut node = command("node");
        node.args(self.arguments(script));
        node
    }

    /// The same as words behind `node`, for whoever starts it.
    pub fn arguments(&self, script: &Path) -> [OsString; 3] {
        ["--import".into(), self.home.join("resolve.mjs").into(), script.into()]
    }
}

/// The SDK, installed once.
///
/// # Errors
/// One sentence that says what is missing.
pub async fn typescript() -> Result<TypeScript, Missing> {
    static FOUND: OnceCell<TypeScript> = OnceCell::const_new();
    node().await?;
    FOUND.get_or_try_init(|| aside(find)).await.cloned()
}

fn find() -> Result<TypeScript, Missing> {
    let list: String = FILES.iter().map(|(_, text)| *text).collect();
    Ok(TypeScript { home: keep("typescript", &list, install)? })
}

fn install(home: &Path) -> Result<(), Missing> {
    let missing = |why: &str| Missing(format!("the TypeScript SDK of MCP cannot be installed: {why}"));
    for (name, text) in FILES {
        fs::write(home.join(name), text).map_err(|error| missing(&error.to_string()))?;
    }
    let mut install = command("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]);
    let ended = output(install.current_dir(home)).ok_or_else(|| missing("npm does not run"))?;
    if ended.status.success() { Ok(()) } else { Err(missing(&format!("npm says `{}`", last_line(&ended)))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_of_the_sdk_is_pinned_by_its_hash_and_by_no_host() {
        let lock: serde_json::Value = serde_json::from_str(FILES[1].1).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.contains_key("node_modules/@modelcontextprotocol/sdk"));
        for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
            assert!(package["integrity"].as_str().is_some_and(|hash| hash.starts_with("sha512-")), "{path}");
            assert!(package.get("resolved").is_none(), "{path}");
        }
    }

    #[tokio::test]
    async fn server_and_client_of_the_sdk_are_found_or_fetched_and_run() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("who.mjs");
        let text = "import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';\n\
                    import { Client } from '@modelcontextprotocol/sdk/client/index.js';\n\
                    import { z } from 'zod';\n\
                    console.log(McpServer.name, Client.name, typeof z.string, process.argv[2]);\n";
        fs::write(&script, text).unwrap();
        let typescript = typescript().await.unwrap();
        let ended = typescript.command(&script).arg("it").output().unwrap();
        let complaint = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(
            (String::from_utf8_lossy(&ended.stdout).trim_end(), &*complaint),
            ("McpServer Client function it", "")
        );
    }
}
