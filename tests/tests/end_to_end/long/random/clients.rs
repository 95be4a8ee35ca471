//! Operators who do not know what they want.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use packline_tests::Console;
use serde_json::json;
use tokio::sync::RwLock;

use super::{PACKAGES, package};

/// How long a drain that is meant is left alone.
const DRAIN: Duration = Duration::from_secs(2);

/// Commands until then; answers how many. Who holds `quiet` has asked the others to keep out of it.
pub(crate) async fn command(
    url: String,
    folder: PathBuf,
    by: String,
    seed: u64,
    until: Instant,
    quiet: Arc<RwLock<()>>,
) -> usize {
    let console = Console::open(&url, &folder).await.unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sent = 0;
    while Instant::now() < until {
        // What is being built is the most interesting.
        let building = console.held().await.unwrap_or_default();
        let name = match random.choice(&building) {
            Some(permit) if random.bool() => permit.package_name.to_string(),
            _ => format!("@acme/{}", package(random.usize(..PACKAGES))),
        };
        let reason = format!("{by} {sent}");
        let body = json!({"by": by, "reason": reason}).to_string();
        let named = match random.u8(..3) {
            0 => name.trim_start_matches('@').to_owned(),
            1 => json!(name).to_string(),
            _ => json!({"packageName": name, "by": by, "reason": reason}).to_string(),
        };
        let limit = random.u32(1..=12);
        let (command, body) = match random.u8(..100) {
            0..32 => ("resume", body),
            32..42 => ("pause", body),
            42..48 => ("emergency-stop", body),
            48..50 => ("emergencyStop", String::new()),
            50..54 => ("drain", body),
            54..60 => ("adjust-concurrency", limit.to_string()),
            60..64 => ("concurrency", json!({"maxConcurrent": limit, "by": by}).to_string()),
            64..66 => ("adjust-concurrency", "none".to_owned()),
            66..82 => ("cancel", named),
            82..95 => ("requeue", named),
            _ => ("requeue", json!({"all": "failed", "by": by}).to_string()),
        };
        // The broker stores each: it is never away.
        if command == "drain" && random.bool() {
            let _alone = quiet.write().await;
            console.command(command, body).await.unwrap();
            tokio::time::sleep(DRAIN).await;
        } else {
            let _together = quiet.read().await;
            console.command(command, body).await.unwrap();
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(random.u64(..500))).await;
    }
    sent
}
