//! What differs between two publishes of one package, each difference one line that names package and place.

use std::{collections::BTreeMap, io::Read};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::read::GzDecoder;
use packline_testkit::stand_in::Request;
use serde_json::Value;

/// How many characters of a value a line shows.
const SHOWN: usize = 120;

/// A difference that is meant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Documented {
    /// The package, or `*`.
    pub(super) package: &'static str,
    /// What the place of the difference ends with.
    pub(super) place: &'static str,
    /// Why it is so.
    pub(super) reason: &'static str,
}

impl Documented {
    fn is(&self, difference: &str) -> bool {
        let place = difference.lines().next().unwrap_or_default();
        let is_package = self.package == "*" || place.starts_with(&format!("{}: ", self.package));
        is_package && place.ends_with(self.place)
    }

    /// What is not documented; and where all packages were compared, what is documented and is not so.
    pub(super) fn apply(documented: &[Self], mut differences: Vec<String>, all: bool) -> Vec<String> {
        let is_stale = |known: &&Self| all && !differences.iter().any(|difference| known.is(difference));
        let stale = documented.iter().filter(is_stale).map(|known| {
            format!("{}: {}: no difference, and documented as one: {}", known.package, known.place, known.reason)
        });
        let stale: Vec<String> = stale.collect();
        differences.retain(|difference| !documented.iter().any(|known| known.is(difference)));
        differences.extend(stale);
        differences
    }
}

/// What one of the two did.
pub(super) struct Side<'a> {
    /// Its registry.
    pub(super) url: &'a str,
    /// Its only put of the package.
    pub(super) put: Option<&'a Request>,
    /// All that its registry heard.
    pub(super) heard: &'a [Request],
}

impl Side<'_> {
    /// The body of the put, without the tarball and the name of the registry; and the tarball in base64.
    fn document(&self) -> Option<(Value, String)> {
        let mut document = self.put?.json();
        let mut tarball = None;
        for attachment in document.get_mut("_attachments")?.as_object_mut()?.values_mut() {
            tarball = attachment.as_object_mut()?.remove("data");
        }
        for version in document.get_mut("versions")?.as_object_mut()?.values_mut() {
            if let Some(Value::String(url)) = version.pointer_mut("/dist/tarball") {
                *url = url.replace(self.url, "http://registry");
            }
        }
        match tarball {
            Some(Value::String(tarball)) => Some((document, tarball)),
            _ => None,
        }
    }

    /// The order of the scripts of a package that told its registry of themselves, and of the put.
    pub(super) fn order(&self, name: &str) -> Vec<String> {
        self.scripts(name).into_iter().map(|(script, _)| script).collect()
    }

    /// The scripts of a package that told the registry of themselves, with what they said, and the put between them.
    fn scripts(&self, name: &str) -> Vec<(String, Value)> {
        let mut scripts = Vec::new();
        for request in self.heard {
            if let Some(script) = request.path.strip_prefix("/-/beacon/") {
                let said = request.json();
                if said.get("cwd").and_then(Value::as_str) == Some(name) {
                    scripts.push((script.to_owned(), said));
                }
            } else if self.put.is_some_and(|put| put.method == request.method && put.path == request.path) {
                scripts.push(("the put".to_owned(), Value::Null));
            }
        }
        scripts
    }
}

/// What differs.
pub(super) fn compare(name: &str, npm: &Side<'_>, worker: &Side<'_>) -> Vec<String> {
    let (documents, mut differences) = ((npm.document(), worker.document()), Vec::new());
    let (Some((by_npm, npm_tarball)), Some((by_worker, worker_tarball))) = documents else {
        return vec![format!("{name}: not one put with a tarball on each side")];
    };
    values(name, &by_npm, &by_worker, &mut differences);
    if npm_tarball != worker_tarball {
        tarballs(name, &npm_tarball, &worker_tarball, &mut differences);
    }
    let (by_npm, by_worker) = (npm.scripts(name), worker.scripts(name));
    values(&format!("{name}: scripts"), &npm.order(name).into(), &worker.order(name).into(), &mut differences);
    let by_worker: BTreeMap<_, _> = by_worker.into_iter().collect();
    for (script, said) in by_npm {
        if let Some(other) = by_worker.get(&script) {
            values(&format!("{name}: {script}"), &said, other, &mut differences);
        }
    }
    differences
}

fn values(place: &str, npm: &Value, worker: &Value, differences: &mut Vec<String>) {
    match (npm, worker) {
        (Value::Object(npm), Value::Object(worker)) => {
            let mut keys: Vec<_> = npm.keys().chain(worker.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let place = if place.contains(": ") { format!("{place}.{key}") } else { format!("{place}: {key}") };
                match (npm.get(key), worker.get(key)) {
                    (Some(npm), Some(worker)) => values(&place, npm, worker, differences),
                    (npm, worker) => differences.push(line(&place, npm, worker)),
                }
            }
        }
        (Value::Array(npm), Value::Array(worker)) if npm.len() == worker.len() => {
            for (n, (npm, worker)) in npm.iter().zip(worker).enumerate() {
                values(&format!("{place}[{n}]"), npm, worker, differences);
            }
        }
        _ if npm == worker => {}
        _ => differences.push(line(place, Some(npm), Some(worker))),
    }
}

fn line(place: &str, npm: Option<&Value>, worker: Option<&Value>) -> String {
    let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    let (npm, worker) = (text(npm), text(worker));
    let same = npm.chars().zip(worker.chars()).take_while(|(a, b)| a == b).count();
    // Of long texts that begin alike, from shortly before where they part.
    let from = if npm.chars().count().max(worker.chars().count()) > SHOWN { same.saturating_sub(20) } else { 0 };
    let cut = |text: &str| text.chars().skip(from).take(SHOWN).collect::<String>();
    format!("{place}\n    npm:    {}\n    worker: {}", cut(&npm), cut(&worker))
}

/// An entry of a tarball.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: u8,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
    contents: Vec<u8>,
}

fn tarballs(name: &str, npm: &str, worker: &str, differences: &mut Vec<String>) {
    let (npm, worker) = (entries(npm), entries(worker));
    let before = differences.len();
    let order = |entries: &[(String, Entry)]| entries.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    let (npm_order, worker_order) = (order(&npm), order(&worker));
    let (npm, worker): (BTreeMap<_, _>, BTreeMap<_, _>) = (npm.into_iter().collect(), worker.into_iter().collect());
    for path in npm.keys().filter(|path| !worker.contains_key(*path)) {
        differences.push(format!("{name}: tarball: {path} is in that of npm only"));
    }
    for (path, of_worker) in &worker {
        let Some(of_npm) = npm.get(path) else {
            differences.push(format!("{name}: tarball: {path} is in that of the worker only"));
            continue;
        };
        let head = |entry: &Entry| (char::from(entry.kind), format!("{:o}", entry.mode), entry.owner, entry.mtime);
        if head(of_npm) != head(of_worker) {
            let (npm, worker) = (head(of_npm), head(of_worker));
            differences.push(format!("{name}: tarball: {path}\n    npm:    {npm:?}\n    worker: {worker:?}"));
        }
        if of_npm.contents != of_worker.contents {
            let text = |entry: &Entry| Value::from(String::from_utf8_lossy(&entry.contents).into_owned());
            let place = format!("{name}: tarball: {path}");
            differences.push(line(&place, Some(&text(of_npm)), Some(&text(of_worker))));
        }
    }
    if differences.len() == before && npm_order != worker_order {
        let (npm, worker) = (npm_order.into(), worker_order.into());
        differences.push(line(&format!("{name}: tarball: order"), Some(&npm), Some(&worker)));
    } else if differences.len() == before {
        differences
            .push(format!("{name}: tarball: the same entries in the same order, compressed or padded differently"));
    }
}

fn entries(tarball: &str) -> Vec<(String, Entry)> {
    let tarball = BASE64_STANDARD.decode(tarball).unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(tarball.as_slice()));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let header = entry.header();
        let (kind, mode, mtime) =
            (header.entry_type().as_byte(), header.mode().unwrap_or_default(), header.mtime().unwrap_or_default());
        let owner = (header.uid().unwrap_or_default(), header.gid().unwrap_or_default());
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        (path, Entry { kind, mode, owner, mtime, contents })
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn tarball(files: &[(&str, &str, u32)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (path, text, mode) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len().try_into().unwrap());
            header.set_mode(*mode);
            archive.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    fn request(method: &str, path: &str, body: &Value) -> Request {
        let (method, path, body) = (method.to_owned(), path.to_owned(), Arc::new(body.to_string().into_bytes()));
        Request { method, path, headers: Vec::new(), body, read_at: None, answered: Some(201) }
    }

    fn put(url: &str, manifest: &Value, tarball: &[u8]) -> Request {
        let mut manifest = manifest.clone();
        manifest["dist"] = json!({ "tarball": format!("{url}/core/-/core-1.0.0.tgz") });
        let attachment = json!({ "data": BASE64_STANDARD.encode(tarball) });
        let attachments = json!({ "core-1.0.0.tgz": attachment });
        request("PUT", "/core", &json!({ "versions": { "1.0.0": manifest }, "_attachments": attachments }))
    }

    fn differences(npm: &[Request], worker: &[Request]) -> Vec<String> {
        let side = |url, heard: &'static [Request]| Side { url, put: heard.iter().find(|r| r.method == "PUT"), heard };
        let leaked = |heard: &[Request]| -> &'static [Request] { Box::leak(heard.to_vec().into_boxed_slice()) };
        compare("core", &side("http://a", leaked(npm)), &side("http://b", leaked(worker)))
    }

    #[test]
    fn the_same_at_two_registries_does_not_differ() {
        let (manifest, tarball) = (json!({"name": "core"}), tarball(&[("package/a.js", "1", 0o644)]));
        let (npm, worker) = (put("http://a", &manifest, &tarball), put("http://b", &manifest, &tarball));
        assert_eq!(differences(&[npm], &[worker]), [""; 0]);
    }

    #[test]
    fn each_difference_names_its_place() {
        let npm_tarball =
            tarball(&[("package/a.js", "1", 0o644), ("package/b.js", "2", 0o755), ("package/c", "", 0o644)]);
        let worker_tarball =
            tarball(&[("package/a.js", "3", 0o644), ("package/b.js", "2", 0o644), ("package/d", "", 0o644)]);
        let npm = put("http://a", &json!({"gitHead": "1", "keywords": ["a", "b"], "x": [1]}), &npm_tarball);
        let worker = put("http://b", &json!({"types": "t", "keywords": ["a", "c"], "x": 1}), &worker_tarball);
        let script = |name: &str, command: &str| {
            request("POST", &format!("/-/beacon/{name}"), &json!({ "cwd": "core", "npm_command": command }))
        };
        let found = differences(
            &[script("prepack", "publish"), npm, script("publish", "publish")],
            &[script("prepack", "pack"), worker],
        );
        let places: Vec<&str> = found.iter().map(|difference| difference.lines().next().unwrap()).collect();
        let expected = [
            "core: versions.1.0.0.gitHead",
            "core: versions.1.0.0.keywords[1]",
            "core: versions.1.0.0.types",
            "core: versions.1.0.0.x",
            "core: tarball: package/c is in that of npm only",
            "core: tarball: package/a.js",
            "core: tarball: package/b.js",
            "core: tarball: package/d is in that of the worker only",
            "core: scripts",
            "core: prepack.npm_command",
        ];
        assert_eq!(places, expected, "{found:#?}");
        assert_eq!(found[0], "core: versions.1.0.0.gitHead\n    npm:    \"1\"\n    worker: nothing");
        assert_eq!(differences(&[], &[]), ["core: not one put with a tarball on each side"]);
    }

    #[test]
    fn what_is_documented_is_left_out_and_must_be_so() {
        let documented = |package, place| Documented { package, place, reason: "because" };
        let known = [documented("*", ".gitHead"), documented("core", "a.js"), documented("other", "b")];
        let found = ["core: versions.1.gitHead\n    npm: 1", "core: tarball: a.js", "core: b", "app: tarball: a.js"];
        let left = Documented::apply(&known, found.map(str::to_owned).to_vec(), true);
        let stale = "other: b: no difference, and documented as one: because";
        assert_eq!(left, ["core: b", "app: tarball: a.js", stale]);
        assert_eq!(Documented::apply(&known, Vec::new(), false), [""; 0]);
    }
}
