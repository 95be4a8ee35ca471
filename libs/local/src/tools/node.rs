//! Node and npm, of this machine.

use std::process::Command;

use tokio::sync::OnceCell;

use super::{Missing, aside, output};

/// The oldest Node that the npm recipe and the registry run on.
pub const OLDEST_NODE: u32 = 20;

/// The Node of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// As it says itself: `v20.20.2`.
    pub version: String,
}

/// Node, new enough, with npm beside it.
///
/// # Errors
/// One sentence that says what is missing.
pub async fn node() -> Result<Node, Missing> {
    static FOUND: OnceCell<Node> = OnceCell::const_new();
    FOUND.get_or_try_init(|| aside(find)).await.cloned()
}

fn find() -> Result<Node, Missing> {
    let node = judge(says_version("node").as_deref())?;
    match says_version("npm") {
        Some(_) => Ok(node),
        None => {
            Err(Missing("npm is not on the PATH; it comes with Node, in some systems as a package of its own".into()))
        }
    }
}

fn says_version(program: &str) -> Option<String> {
    let ended = output(Command::new(program).arg("--version"))?;
    ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).trim().to_owned())
}

fn judge(version: Option<&str>) -> Result<Node, Missing> {
    let Some(version) = version else {
        return Err(Missing(format!("Node {OLDEST_NODE} or newer is needed, and there is no `node` on the PATH")));
    };
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= OLDEST_NODE => Ok(Node { version: version.to_owned() }),
        _ => Err(Missing(format!("Node {OLDEST_NODE} or newer is needed, and `node` on the PATH is {version}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_or_missing_node_is_one_sentence() {
        assert_eq!(judge(Some("v20.0.0")).unwrap().version, "v20.0.0");
        assert!(judge(Some("v24.1.0")).is_ok());
        let old = judge(Some("v18.19.0")).unwrap_err().to_string();
        assert_eq!(old, "Node 20 or newer is needed, and `node` on the PATH is v18.19.0");
        assert_eq!(
            judge(None).unwrap_err().to_string(),
            "Node 20 or newer is needed, and there is no `node` on the PATH"
        );
    }
}
