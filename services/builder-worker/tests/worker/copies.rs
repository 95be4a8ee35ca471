//! Workspace mode where no overlay works: builds see a copy of what an overlay would show.

use packline_testkit::workspaces::Case;

use crate::{
    foreman::until,
    workspaces::{Bench, build},
};

/// A worker that can mount nothing, and says so.
async fn start(case: &Case) -> Bench {
    let bench = Bench::without_overlays(case).await;
    until("what came of the probe", || async { bench.worker.printed().contains("overlay=").then_some(()) }).await;
    assert!(bench.worker.printed().contains("overlay=false"), "{}", bench.worker.printed());
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_packages_find_in_a_copy_what_they_find_in_an_overlay() {
    build(&["references", "git", "own-script", "nested", "writes-beside"], start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_and_tools_that_need_them_are_found_in_a_copy() {
    build(&["private-built", "hidden-edge", "builds-itself", "lerna-sibling"], start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_the_root_run_in_a_copy_of_their_own() {
    build(&["root-build", "root-types", "root-prepare"], start).await;
}
