//! Which packages are built in workspace mode, and which in isolated mode.

use std::{fs, time::Duration};

use packline_domain::Outcome;

use crate::foreman::Foreman;

const CLAIM: Duration = Duration::from_secs(60);
/// Says where the workspace is: all builds in workspace mode see it at one place.
const SHOW: &str = "[[phase]]\nname = \"show\"\nrun = [\"sh\", \"-c\", 'echo \"the root is $WORKSPACE_ROOT\"']\n";

#[tokio::test]
async fn members_and_single_packages_are_built_in_workspace_mode_and_all_else_is_isolated() {
    let mut foreman = Foreman::new(CLAIM).await;
    let write = |foreman: &Foreman, file: &str, text: &str| {
        let file = foreman.workspace().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    let recipe = foreman.recipe(SHOW);
    write(&foreman, "tools/x/package.json", r#"{"name": "x", "version": "1.0.0"}"#);
    let worker = foreman.worker("one", &[("RECIPE", &recipe), ("NPM_REGISTRY", "http://127.0.0.1:9")]);
    let (single, members) = (r#"{"name": "x", "version": "1.0.0"}"#, r#"{"workspaces": ["tools/*"]}"#);
    let odd = r#"{"workspaces": "tools/*"}"#;
    let at = foreman.folder().join("cache").canonicalize().unwrap_or_else(|_| foreman.folder().join("cache"));
    let at = at.join("view").display().to_string();
    for (root, beside, path, in_workspace) in [
        (None, None, ".", false),
        (None, None, "tools/x", false),
        (Some(single), None, "tools/x", false),
        (Some(members), None, ".", false),
        (None, Some("lerna.json"), ".", false),
        // Up to here nobody has to take sources.
        (Some(single), None, ".", true),
        (Some(members), None, "tools/x", true),
        (Some(odd), None, "tools/x", false),
        (Some(odd), None, "tools/x", false),
        (Some(single), Some("pnpm-workspace.yaml"), ".", true),
    ] {
        for file in ["package.json", "lerna.json", "pnpm-workspace.yaml"] {
            let _ = fs::remove_file(foreman.workspace().join(file));
        }
        root.iter().for_each(|text| write(&foreman, "package.json", text));
        beside.iter().for_each(|file| write(&foreman, file, "{}"));
        let mut order = foreman.grant(0, "x").await;
        order.package_path = path.parse().unwrap();
        foreman.send(&order).await;
        let result = foreman.outcome(&order).await;
        let case = format!("{path} of {root:?} with {beside:?}");
        assert_eq!(result.outcome, Outcome::Published, "{case}: {result:?}");
        let log = foreman.log_until(&order.build_id, "show| the root is").await;
        assert_eq!(log.contains(&format!("the root is {at}\n")), in_workspace, "{case}: {log}");
        let kinds = fs::read_dir(foreman.folder().join("cache/sources")).map_or(0, Iterator::count);
        let takes = in_workspace || root == Some(odd);
        assert!(takes || kinds == 0, "{case}: sources are taken for nothing");
        let why = "built in isolated mode: ";
        assert_eq!(log.contains(why), root == Some(odd), "{case}: {log}");
    }
    let printed = worker.printed();
    let told = |why: &str| printed.lines().filter(|line| line.contains(why)).count();
    assert_eq!(told("package.json has `workspaces` that are not an array"), 1, "one event: {printed}");
}
