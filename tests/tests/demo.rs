//! The demo is the main job; it checks every outcome itself and says so by its exit status.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use packline_testkit::{
    line::{Binaries, Progress},
    process::command,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_builds_what_can_be_built_and_says_why_the_rest_is_not() {
    let binaries = Binaries::find(Progress::Hidden).await.unwrap();
    let ran = tokio::task::spawn_blocking(move || command(binaries.path("packline")).arg("demo").output());
    let ran = ran.await.unwrap().unwrap();
    let (printed, logged) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}\n{printed}\n{logged}", ran.status);
    for line in ["4 of 8 packages are published", "cycle: @demo/hen → @demo/egg → @demo/hen"] {
        assert!(printed.contains(line), "{line} is missing in\n{printed}");
    }
    let folder = printed.lines().find_map(|line| line.split_once("packline-demo-"));
    assert!(folder.is_none_or(|(_, rest)| !std::path::Path::new(rest).exists()), "the folder is left behind");
}
