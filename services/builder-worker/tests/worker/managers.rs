//! Workspaces of other package managers, and of other versions of npm and Node than those of the machine.

use packline_testkit::workspaces;

use crate::workspaces::{Bench, build};

macro_rules! managers {
    ($(fn $test:ident() { $($name:literal),+ })+) => {
        const BUILT: &[&[&str]] = &[$(&[$($name),+]),+];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                build(&[$($name),+], Bench::start).await;
            }
        )+
    };
}
managers! {
    fn npm_of_the_version_that_is_asked_for() { "npm-10", "npm-12" }
    fn pnpm() { "pnpm-10", "pnpm-12" }
    fn yarn() { "yarn-1", "yarn-4", "yarn-4-pnp" }
    fn what_pnpm_reads() { "pnpm-patch", "pnpm-hooks", "pnpm-catalog", "pnpm-scripts" }
    fn what_pnpm_packs() { "pnpm-publish-config", "pnpm-directory", "pnpm-nested-run" }
    fn what_yarn_reads() { "yarn-patch", "yarn-portal" }
}

#[test]
fn every_workspace_of_a_manager_is_built() {
    let mut built: Vec<&str> = BUILT.iter().copied().flatten().copied().collect();
    built.sort_unstable();
    let mut all: Vec<&str> = workspaces::of_managers().iter().map(|case| case.name).collect();
    all.sort_unstable();
    assert_eq!(built, all);
}
