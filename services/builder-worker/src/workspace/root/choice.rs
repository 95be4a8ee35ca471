//! Which script of the root builds a member, and whether a member builds itself.

use packline_recipe::{RootBuild, WorkspaceOptions};
use packline_workspace::{Manifest, Member, Workspace};

use crate::test_script::commands;

/// The script that builds where nobody says otherwise.
const BUILD: &str = "build";
/// The scripts that may build a package before it is packed.
const BUILDING: [&str; 4] = [BUILD, "prepack", "prepare", "prepublishOnly"];
/// Parts of names of scripts that build nothing.
const NO_BUILD: [&str; 9] = ["test", "tests", "lint", "check", "format", "version", "typecheck", "clean", "install"];
/// Programs that build nothing.
const NO_BUILDER: [&str; 38] = [
    ":",
    "[",
    "attw",
    "audit-ci",
    "ava",
    "biome",
    "c8",
    "cd",
    "changeset",
    "clean-package",
    "cspell",
    "del-cli",
    "echo",
    "eslint",
    "exit",
    "husky",
    "in-publish",
    "is-ci",
    "jest",
    "lefthook",
    "lint-staged",
    "mocha",
    "not-in-publish",
    "nyc",
    "patch-package",
    "prettier",
    "printf",
    "publint",
    "rimraf",
    "rm",
    "simple-git-hooks",
    "sort-package-json",
    "standard",
    "tap",
    "test",
    "true",
    "vitest",
    "xo",
];

/// The script of the root that builds `member` before its own build: `None` where it builds itself, or the root has
/// none.
///
/// # Errors
/// One line where the recipe asks for a script that the root does not have.
pub(crate) fn builds(
    workspace: &Workspace,
    member: &Member,
    options: &WorkspaceOptions,
) -> Result<Option<String>, String> {
    let wanted = match options.root_build {
        RootBuild::Never => false,
        RootBuild::Always => true,
        RootBuild::Auto => !member.manifest().is_private() && !builds_itself(member.manifest()),
    };
    if !wanted || member.real_folder().as_os_str().is_empty() {
        return Ok(None);
    }
    script(workspace.manifest(), options)
}

/// The script of the root that builds its members, where it has one.
///
/// # Errors
/// One line where the recipe asks for a script that the root does not have.
pub(crate) fn script(root: &Manifest, options: &WorkspaceOptions) -> Result<Option<String>, String> {
    let named = options.root_build_script.as_deref();
    let script = named.or_else(|| before_release(root)).unwrap_or(BUILD);
    if root.script(script).is_some() {
        return Ok(Some(script.to_owned()));
    }
    let asks = match (named, options.root_build) {
        (_, RootBuild::Never) | (None, RootBuild::Auto) => return Ok(None),
        (Some(named), _) => format!("root_build_script is `{}`", named.escape_debug()),
        (None, RootBuild::Always) => "root_build is \"always\"".to_owned(),
    };
    let has: Vec<String> = root.scripts().map(|(name, _)| name.escape_debug().to_string()).collect();
    let has = if has.is_empty() { "no scripts".to_owned() } else { format!("the scripts {}", has.join(", ")) };
    Err(format!("{asks}, and package.json of the root has no script {}; it has {has}", script.escape_debug()))
}

/// Whether a package has a script that its publishing runs and that may build it.
fn builds_itself(manifest: &Manifest) -> bool {
    BUILDING.iter().any(|script| may_build(manifest, script, 0))
}

/// Whether a script does anything but check, clean up, or set hooks of git. What is not understood builds.
fn may_build(manifest: &Manifest, script: &str, depth: u32) -> bool {
    let Some(text) = manifest.script(script) else { return false };
    // Scripts may call each other in a circle.
    let Some(commands) = commands(text).filter(|_| depth < 10) else { return true };
    commands.iter().any(|command| {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        command_builds(manifest, &words, depth)
    })
}

fn command_builds(manifest: &Manifest, words: &[&str], depth: u32) -> bool {
    let words = match words {
        ["npx" | "bunx", rest @ ..] | ["npm", "exec", rest @ ..] | ["pnpm" | "yarn", "exec" | "dlx", rest @ ..] => rest,
        words => words,
    };
    let words =
        words.iter().position(|word| !word.starts_with('-')).map_or(&[][..], |at| words.get(at..).unwrap_or(&[]));
    match words {
        [] => false,
        ["tsc", rest @ ..] => !rest.contains(&"--noEmit"),
        ["cp", rest @ ..] => copies_code(rest),
        ["npm" | "pnpm" | "yarn", "run" | "run-script", script, ..] if manifest.script(script).is_some() => {
            may_build(manifest, script, depth + 1)
        }
        ["npm" | "pnpm" | "yarn", script @ ("test" | "t"), ..] => script.is_empty(),
        ["pnpm" | "yarn", script, ..] if manifest.script(script).is_some() => may_build(manifest, script, depth + 1),
        [program, ..] => !NO_BUILDER.contains(program),
    }
}

/// Whether something else is copied than what people read.
fn copies_code(words: &[&str]) -> bool {
    let paths: Vec<&&str> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let is_text = |path: &&&str| {
        let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        ["readme", "license", "licence", "changelog", "notice"].iter().any(|text| name.starts_with(text))
    };
    !paths.split_last().is_some_and(|(_, from)| !from.is_empty() && from.iter().all(is_text))
}

/// The script that the root's release runs before it publishes.
fn before_release(root: &Manifest) -> Option<&str> {
    root.scripts().find_map(|(_, command)| {
        let steps: Vec<&str> = command.split(['&', ';', '|']).map(str::trim).filter(|step| !step.is_empty()).collect();
        let publishes = |step: &&str| {
            let words: Vec<&str> = step.split_whitespace().collect();
            let publish = words.iter().position(|word| *word == "publish");
            let by = ["changeset", "lerna", "npm", "pnpm", "yarn", "nx"];
            publish.is_some_and(|at| words.iter().take(at).any(|word| by.contains(word)))
        };
        let release = steps.iter().position(publishes)?;
        let runs = |step: &&str| {
            let mut words = step.split_whitespace();
            let manager = words.next()?;
            let next = words.next()?;
            let script = if matches!(next, "run" | "run-script") { words.next()? } else { next };
            let is_build = !NO_BUILD.iter().any(|word| script.split([':', '-']).any(|part| part == *word));
            let known = root.scripts().map(|(name, _)| name).find(|name| *name == script);
            known.filter(|_| is_build && matches!(manager, "npm" | "pnpm" | "yarn"))
        };
        steps.iter().take(release).rev().find_map(runs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::script as script_of;

    fn manifest(scripts: &str) -> Manifest {
        Manifest::parse(format!("{{\"scripts\": {scripts}}}").as_bytes()).unwrap()
    }

    #[test]
    fn the_build_is_what_the_release_runs_before_it_publishes() {
        for (scripts, expected) in [
            (r#"{"release": "npm run compile && changeset publish", "compile": "tsc -b"}"#, Some("compile")),
            (r#"{"release": "pnpm build && changeset publish", "build": "tsdown"}"#, Some("build")),
            (
                r#"{"ci": "npm run build:all && npm test && lerna publish from-package", "build:all": "x", "test": "y"}"#,
                Some("build:all"),
            ),
            (r#"{"release": "npm run gone && npm publish --workspaces", "build": "x"}"#, None),
            (r#"{"release": "changeset publish", "build": "x"}"#, None),
            (r#"{"publish-docs": "npm run site && echo publish", "site": "x"}"#, None),
        ] {
            assert_eq!(before_release(&manifest(scripts)), expected, "{scripts}");
        }
    }

    #[test]
    fn a_package_builds_itself_where_a_script_of_its_publishing_does_more_than_check() {
        for (scripts, expected) in [
            (r#"{}"#, false),
            (r#"{"test": "node build.js"}"#, false),
            (r#"{"build": "tsc"}"#, true),
            (r#"{"build": "tsc --noEmit"}"#, false),
            (r#"{"build": "echo nothing to build"}"#, false),
            (r#"{"prepare": "husky"}"#, false),
            (r#"{"prepare": "husky install && npx --no-install lefthook install"}"#, false),
            (r#"{"prepare": "husky && tsc"}"#, true),
            (r#"{"prepare": "cd ../.. && node scripts/build.js"}"#, true),
            (r#"{"prepublishOnly": "npm run lint && npm test", "lint": "eslint ."}"#, false),
            (r#"{"prepublishOnly": "npm run lint", "lint": "npm run lint"}"#, true),
            (r#"{"prepack": "npm run compile", "compile": "rollup -c"}"#, true),
            (r#"{"prepack": "yarn compile", "compile": "rollup -c"}"#, true),
            (r#"{"prepack": "npm run gone"}"#, true),
            (r#"{"prepack": "cp ../../README.md ../../LICENSE ."}"#, false),
            (r#"{"prepack": "cp -r src dist"}"#, true),
            (r#"{"prepack": "rm -rf dist"}"#, false),
            (r#"{"prepack": "$BUILD"}"#, true),
            (r#"{"prepack": "clean-package", "prepare": "node make.mjs"}"#, true),
        ] {
            assert_eq!(builds_itself(&manifest(scripts)), expected, "{scripts}");
        }
    }

    #[test]
    fn a_script_that_the_root_does_not_have_is_said_where_the_recipe_asks_for_it() {
        let root = manifest(r#"{"test": "x", "compile": "y"}"#);
        let named = |root_build, script: Option<&str>| {
            let root_build_script = script.map(str::to_owned);
            script_of(&root, &WorkspaceOptions { root_build, root_build_script, ..WorkspaceOptions::default() })
        };
        assert_eq!(named(RootBuild::Auto, None), Ok(None));
        assert_eq!(named(RootBuild::Auto, Some("compile")), Ok(Some("compile".into())));
        assert_eq!(
            named(RootBuild::Auto, Some("bild")).unwrap_err(),
            "root_build_script is `bild`, and package.json of the root has no script bild; it has the scripts compile, test"
        );
        assert_eq!(
            named(RootBuild::Always, None).unwrap_err(),
            "root_build is \"always\", and package.json of the root has no script build; it has the scripts compile, test"
        );
        assert_eq!(named(RootBuild::Never, Some("bild")), Ok(None));
        let empty = manifest("{}");
        let options = WorkspaceOptions { root_build: RootBuild::Always, ..WorkspaceOptions::default() };
        assert!(script_of(&empty, &options).unwrap_err().ends_with("it has no scripts"));
    }
}
