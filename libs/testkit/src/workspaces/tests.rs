//! What npm itself makes of the cases.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::*;
use crate::{campaign, process::command, stand_in::StandIn, tools};

/// A fresh checkout of a case, and a registry.
struct Checkout {
    folder: TempDir,
    registry: String,
    npm: tools::Npm,
}

impl Checkout {
    async fn of(case: &Case, stand_in: &StandIn) -> Self {
        let folder = tempfile::Builder::new().prefix("workspace-").tempdir().unwrap();
        case.release(&stand_in.url()).await.unwrap();
        let checkout = Self { folder, registry: stand_in.url(), npm: tools::npm11().await.unwrap() };
        case.write(&checkout.root()).unwrap();
        checkout
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// What npm says, and whether it ended well.
    fn npm(&self, folder: &Path, words: &[&str]) -> (bool, String) {
        let mut npm = command("npm");
        npm.args(words).args(["--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0", "--registry"]);
        npm.arg(&self.registry).arg("--cache").arg(self.folder.path().join("cache"));
        npm.env("PATH", self.npm.path()).env("HOME", self.folder.path()).env("CI", "true").current_dir(folder);
        let ended = npm.output().unwrap();
        let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        (ended.status.success(), said)
    }

    fn must(&self, folder: &Path, words: &[&str]) {
        let (ok, said) = self.npm(folder, words);
        assert!(ok, "npm {}: {said}", words.join(" "));
    }

    fn install(&self, folder: &Path) {
        self.must(folder, &[if folder.join("package-lock.json").exists() { "ci" } else { "install" }]);
    }

    /// What npm makes of a member that is installed.
    fn make(&self, case: &Case, member: &Member) -> Made {
        let folder = self.root().join(member.path);
        for script in ["build", "test"] {
            let stub = member.script(script).is_some_and(|text| text.starts_with("echo \"Error: "));
            if member.script(script).is_none() || stub || (script == "build" && case.root_build.is_some()) {
                continue;
            }
            let (ok, said) = self.npm(&folder, &["run", script]);
            if !ok {
                return Made::Failed(script.to_owned(), said);
            }
        }
        if member.outcome == Outcome::Private {
            return Made::Built;
        }
        let packed = self.folder.path().join("packed").join(member.name());
        fs::create_dir_all(&packed).unwrap();
        self.must(&folder, &["pack", "--pack-destination", packed.to_str().unwrap()]);
        let tarball = fs::read_dir(&packed).unwrap().next().unwrap().unwrap().path();
        Made::packed(&fs::read(tarball).unwrap()).unwrap()
    }
}

/// In the short form those that show most about npm: a lock file, an install per member, a cycle.
#[tokio::test(flavor = "multi_thread")]
async fn npm_makes_of_a_fresh_checkout_what_the_case_says() {
    let short = ["locked", "lerna", "dev-cycle"];
    let mut wrong = Vec::new();
    for case in campaign::size(short.map(case).to_vec(), all()) {
        let (name, by_npm) = (case.name, case.by_npm);
        if tokio::spawn(make_and_compare(case)).await.is_ok() != by_npm {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}; the messages above say why, and some belong to cases beyond npm");
}

async fn make_and_compare(case: Case) {
    let stand_in = StandIn::start().await;
    let checkout = Checkout::of(&case, &stand_in).await;
    checkout.install(&checkout.root());
    if checkout.root().join("lerna.json").exists() {
        case.members.iter().for_each(|member| checkout.install(&checkout.root().join(member.path)));
    }
    if let Some(script) = case.root_build {
        checkout.must(&checkout.root(), &["run", script]);
    }
    for member in case.members.iter().filter(|member| member.outcome != Outcome::Left) {
        assert_eq!(member.problem(&checkout.make(&case, member)), None, "{}", case.name);
    }
}

#[test]
fn cases_and_members_have_names_of_their_own() {
    let cases = all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len());
    for case in &cases {
        let paths: BTreeSet<&str> = case.members.iter().map(|member| member.path).collect();
        assert_eq!(paths.len(), case.members.len(), "{}", case.name);
        assert!(case.members.iter().all(|member| !member.name().is_empty()), "{}", case.name);
    }
}

#[test]
fn a_released_package_has_the_same_tarball_each_time() {
    let package = || Released::new("@acme/tool", "1.0.0").program("console.log(1);\n");
    assert_eq!(package().tarball().unwrap(), package().tarball().unwrap());
    assert_eq!(package().integrity().unwrap().len(), "sha512-".len() + 88);
}

#[test]
fn what_was_made_is_compared_file_by_file() {
    let case = case("locked");
    let [member] = &case.members[..] else { panic!("one member") };
    let made = |text: &str| {
        let package = Released::new("@acme/a", "1.0.0").file("dist/found.txt", text).tarball().unwrap();
        let Made::Packed(mut files) = Made::packed(&package).unwrap() else { panic!("a tarball") };
        assert_eq!(files.remove("index.js").as_deref(), Some("module.exports = '1.0.0';\n"));
        Made::Packed(files)
    };
    assert_eq!(member.problem(&made("1.0.0\n")), None);
    let other = member.problem(&made("1.1.0\n")).unwrap();
    assert_eq!(other, r#"@acme/a: dist/found.txt holds "1.1.0\n", and not "1.0.0\n""#);
    let less = member.problem(&Made::Packed([("package.json".into(), "{}".into())].into())).unwrap();
    assert_eq!(less, r#"@acme/a: its files are {"package.json"}, and not {"dist/found.txt", "package.json"}"#);
    assert!(member.problem(&Made::Built).unwrap().starts_with("@acme/a: Built, and not Published("));
}
