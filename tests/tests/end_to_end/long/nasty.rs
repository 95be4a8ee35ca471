//! A workspace of all that packages do to those who build them, on a whole line.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use packline_broker::StreamName;
use packline_testkit::witness::processes_of;
use packline_tests::{Fixture, Gate, PATIENCE, Scene, left_out};
use serde_json::json;

const ELSEWHERE: &str = "registry=http://127.0.0.1:9/\n@acme:registry=http://127.0.0.1:9/\ndry-run=true\n";
/// What a phase may print unless a recipe says otherwise.
const OUTPUT_LIMIT: usize = 64_000_000;
/// Of a worker, whatever its builds print.
const MOST_MEMORY: u64 = 192 * 1024;

/// Writes and removes wherever it can reach.
const VANDAL: &str = r"
const fs = require('fs'), path = require('path');
const source = fs.existsSync('WHERE') ? fs.readFileSync('WHERE', 'utf8') : '';
const way = '../'.repeat(40) + source;
let files = ['../../package.json', '../../scripts/shared.js', '../scoped/index.js', '../scoped/package.json'];
if (source) for (const root of [source, way])
    files.push(root + '/package.json', root + '/packages/scoped/index.js', root + '/packages/vandal/new.js');
for (const file of files) try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, 'vandalised');
} catch (error) { console.log(error.code, file); }
for (const folder of ['../../scripts', ...(source ? [source + '/packages/scoped'] : [])]) try {
    fs.rmSync(folder, { recursive: true, force: true });
} catch (error) { console.log(error.code, folder); }
";

fn packages(where_is_the_source: &Path, deaf: &Gate) -> Vec<Fixture> {
    let version = |fixture: Fixture, version: &str| fixture.field("version", version.into());
    let loud = "yes $(head -c 999 /dev/zero | tr '\\0' x) | head -c 100000000";
    vec![
        Fixture::new("scoped").script("test", "node ../../scripts/shared.js"),
        Fixture::unscoped("packline-plain").needs("scoped"),
        Fixture::new("secret").field("private", true.into()),
        version(Fixture::new("beta"), "2.0.0-beta.3"),
        version(Fixture::new("number"), "1.0.0-0"),
        version(Fixture::new("older"), "2.0.0"),
        Fixture::new("canary").field("publishConfig", json!({"tag": "canary", "access": "public"})),
        Fixture::new("foreign").field("publishConfig", json!({"registry": "https://registry.example.com/"})),
        Fixture::new("turned").needs("scoped").file(".npmrc", ELSEWHERE),
        Fixture::new("sibling").field("dependencies", json!({"@acme/scoped": "file:../scoped"})),
        Fixture::new("linked"),
        Fixture::new("loud").script("test", loud),
        Fixture::new("forks")
            .script("build", "(setsid sleep 1000 &) ; (trap '' TERM; nohup sleep 1001 &) ; sleep 1002 & true"),
        Fixture::new("deaf").stops_at(deaf),
        Fixture::new("vandal")
            .script("build", "node vandal.js")
            .file("vandal.js", &VANDAL.replace("WHERE", &where_is_the_source.display().to_string())),
    ]
}

/// Name, state at the end, failed phase, what the error says, attempts.
type Outcome = (&'static str, &'static str, Option<&'static str>, &'static str, usize);

const OUTCOMES: [Outcome; 15] = [
    ("@acme/scoped", "published", None, "", 1),
    ("packline-plain", "published", None, "", 1),
    ("@acme/secret", "published", None, "", 1),
    ("@acme/beta", "published", None, "", 1),
    ("@acme/number", "published", None, "", 1),
    ("@acme/older", "published", None, "", 1),
    ("@acme/canary", "published", None, "", 1),
    ("@acme/turned", "published", None, "", 1),
    ("@acme/forks", "published", None, "", 1),
    ("@acme/vandal", "published", None, "", 1),
    ("@acme/foreign", "failed", None, "publishConfig names another registry, https://registry.example.com/", 1),
    ("@acme/sibling", "published", None, "", 1),
    ("@acme/linked", "published", None, "", 1),
    ("@acme/loud", "failed", Some("test"), "printed more than 64000000 bytes", 1),
    ("@acme/deaf", "cancelled", None, "", 1),
];

/// What the registry has in the end; all else of the workspace it does not have.
const TAGS: [(&str, &str, &str); 11] = [
    ("@acme/scoped", "latest", "1.0.0"),
    ("packline-plain", "latest", "1.0.0"),
    ("@acme/beta", "beta", "2.0.0-beta.3"),
    ("@acme/number", "next", "1.0.0-0"),
    ("@acme/older", "latest", "2.0.0"),
    ("@acme/canary", "canary", "1.0.0"),
    ("@acme/turned", "latest", "1.0.0"),
    ("@acme/forks", "latest", "1.0.0"),
    ("@acme/vandal", "latest", "1.0.0"),
    ("@acme/sibling", "latest", "1.0.0"),
    ("@acme/linked", "latest", "1.0.0"),
];

/// All files and links below a folder, with what is in them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                open.push(path.clone());
                all.insert(path, Vec::new());
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                all.insert(path, target.into_os_string().into_encoded_bytes());
            } else {
                all.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    all
}

/// The most memory that a process has had, in KiB.
fn most_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_package_of_a_nasty_workspace_ends_as_it_must_and_harms_nobody() {
    let place = tempfile::tempdir().unwrap();
    let where_is_the_source = place.path().join("where");
    let deaf = Gate::closed().unwrap();
    let mut scene = Scene::start(&packages(&where_is_the_source, &deaf), &[]).await.unwrap();
    let root = scene.plant.workspace().to_owned();
    fs::write(root.join(".npmrc"), ELSEWHERE).unwrap();
    fs::create_dir(root.join("scripts")).unwrap();
    fs::write(root.join("scripts/shared.js"), "process.exit(0)").unwrap();
    symlink("/etc/passwd", root.join("packages/linked/passwd")).unwrap();
    // Without namespaces a build of the worker's own user can write wherever that user can.
    let protected = Command::new("unshare").args(["--pid", "--mount", "--fork", "true"]).status();
    if protected.is_ok_and(|status| status.success()) {
        fs::write(&where_is_the_source, root.as_os_str().as_encoded_bytes()).unwrap();
    } else {
        assert!(std::env::var_os("CI").is_none(), "CI is to show this, and allows no namespaces");
        left_out("that a build cannot change the source", "this machine allows no namespaces");
    }
    let before = contents(&root);

    scene.run(2).await.unwrap();
    scene.until_reached(&deaf, 1).await.unwrap();
    scene.command("cancel", "@acme/deaf").await.unwrap();
    for (name, state, phase, says, attempts) in OUTCOMES {
        let record = serde_json::to_value(scene.until_state(name, state).await.unwrap()).unwrap();
        assert_eq!(record["failedPhase"].as_str(), phase, "{record}");
        assert!(record["error"].as_str().unwrap_or_default().contains(says), "{record}");
        let made = scene.retries(name).await.unwrap().attempts;
        assert_eq!(made.len(), attempts, "{name}: {made:?}");
        for attempt in made {
            assert!(processes_of(&attempt.build_id.to_string()).is_empty(), "{name} is over");
        }
    }
    assert_eq!(contents(&root), before, "the source is as it was");
    for (name, tag, version) in TAGS {
        let found = scene.plant.registry.view(name).await.unwrap().unwrap_or_default();
        assert_eq!(found.tags.get(tag).map(String::as_str), Some(version), "{name}: {found:?}");
        assert_eq!(found.versions.len(), 1, "{name}: {found:?}");
    }
    for (name, ..) in OUTCOMES.iter().filter(|(name, ..)| !TAGS.iter().any(|(there, ..)| there == name)) {
        assert_eq!(scene.plant.registry.view(name).await.unwrap(), None, "{name}");
    }

    let loud = format!("builds.log.{}", scene.retries("@acme/loud").await.unwrap().attempts[0].build_id);
    let logged = scene.stored(StreamName::Logs).await.unwrap();
    let logged: usize = logged.iter().filter(|line| line.subject == loud).map(|line| line.payload.len()).sum();
    assert!(logged <= OUTPUT_LIMIT + 64 * 1024, "{logged} bytes are in its log");
    for worker in &scene.plant.workers {
        let most = most_memory(worker.pid());
        println!("{} has had {most} KiB", worker.name());
        assert!(most < MOST_MEMORY, "{} has had {most} KiB", worker.name());
    }

    let manifest = root.join("packages/older/package.json");
    let text = fs::read_to_string(&manifest).unwrap().replace("2.0.0", "1.5.0");
    fs::write(&manifest, text).unwrap();
    scene.announce(r#"{"name": "@acme/older"}"#).await.unwrap();
    let again = async {
        while scene.results("@acme/older").await.unwrap().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    let older = scene.plant.registry.view("@acme/older").await.unwrap().unwrap();
    let tags = [("latest", "2.0.0"), ("previous", "1.5.0")].map(|(tag, version)| (tag.to_owned(), version.to_owned()));
    assert_eq!(older.tags, BTreeMap::from(tags));
}
