//! What a registry of an earlier release has kept: in one folder what was published to it and what came from others.

use std::{fs, io, path::Path};

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

type Raw = IndexMap<String, Box<RawValue>>;

/// Takes out of the `storage` of a registry that does not run what came from others: packages of which nothing was
/// published here go to `copies`, single versions go away. What cannot be read stays as it is.
pub(super) fn separate(storage: &Path, copies: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(storage) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let (folder, to) = (entry.path(), copies.join(entry.file_name()));
        if entry.file_name().to_string_lossy().starts_with('@') {
            separate(&folder, &to)?;
        } else {
            package(&folder, &to)?;
        }
    }
    Ok(())
}

/// The same of one package.
fn package(folder: &Path, to: &Path) -> io::Result<()> {
    let path = folder.join("package.json");
    let Some(mut manifest) = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Raw>(&text).ok()) else {
        return Ok(());
    };
    // Which registries were asked.
    if map(&manifest, "_uplinks").is_empty() {
        return Ok(());
    }
    // Which tarballs are at another registry, whether they lie here as well or not.
    let elsewhere = map(&manifest, "_distfiles");
    let (ours, theirs): (Raw, Raw) = map(&manifest, "versions")
        .into_iter()
        .partition(|(_, version)| !tarball(version).is_some_and(|file| elsewhere.contains_key(&file)));
    if ours.is_empty() {
        if let Some(above) = to.parent() {
            fs::create_dir_all(above)?;
        }
        return if to.exists() { fs::remove_dir_all(folder) } else { fs::rename(folder, to) };
    }
    let mut keep = |key: &str, is_kept: &dyn Fn(&str, &RawValue) -> bool| {
        let mut entries = map(&manifest, key);
        entries.retain(|key, value| is_kept(key, value));
        manifest.insert(key.to_owned(), to_raw_value(&entries)?);
        Ok::<_, io::Error>(())
    };
    keep("versions", &|version, _| ours.contains_key(version))?;
    keep("time", &|version, _| !theirs.contains_key(version))?;
    keep("dist-tags", &|_, version| text(version).is_some_and(|version| ours.contains_key(&version)))?;
    keep("_attachments", &|file, _| !elsewhere.contains_key(file))?;
    keep("_distfiles", &|_, _| false)?;
    keep("_uplinks", &|_, _| false)?;
    // The manifest first: a tarball that none names goes at the next start.
    let draft = folder.join("package.json.separated");
    fs::write(&draft, serde_json::to_vec(&manifest)?)?;
    fs::rename(&draft, &path)?;
    for file in elsewhere.keys().filter(|file| !file.contains('/')) {
        match fs::remove_file(folder.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn map(manifest: &Raw, key: &str) -> Raw {
    manifest.get(key).and_then(|field| Raw::deserialize(&**field).ok()).unwrap_or_default()
}

fn text(value: &RawValue) -> Option<String> {
    String::deserialize(value).ok()
}

/// The file name of a version's tarball.
fn tarball(version: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Version {
        dist: Dist,
    }
    #[derive(Deserialize)]
    struct Dist {
        tarball: String,
    }
    let Version { dist } = Version::deserialize(version).ok()?;
    let path = dist.tarball.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn copies_are_set_apart_and_what_was_published_here_stays() {
        let place = tempfile::tempdir().unwrap();
        let (storage, copies) = (place.path().join("storage"), place.path().join("mirror/storage"));
        let write = |package: &str, manifest: &Value, files: &[&str]| {
            let folder = storage.join(package);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("package.json"), manifest.to_string().replace("cut", r"cut \ud83d")).unwrap();
            files.iter().for_each(|file| fs::write(folder.join(file), "tarball").unwrap());
        };
        let version = |file: &str| json!({"description": "cut", "dist": {"tarball": format!("http://h/x/-/{file}")}});
        let asked = json!({"upstream": {"etag": "x", "fetched": 1}});
        let own = json!({"versions": {"1.0.0": version("core-1.0.0.tgz")}, "_uplinks": {},
            "_attachments": {"core-1.0.0.tgz": {"shasum": "a"}}});
        write("@acme/core", &own, &["core-1.0.0.tgz"]);
        write(
            "@corp/copied",
            &json!({"versions": {"2.0.0": version("copied-2.0.0.tgz")}, "_uplinks": asked,
                "_distfiles": {"copied-2.0.0.tgz": {}}}),
            &["copied-2.0.0.tgz"],
        );
        write("ms", &json!({"versions": {}, "_uplinks": asked}), &[]);
        let both = json!({"name": "both", "readme": "cut", "_uplinks": asked,
            "versions": {"1.0.0": version("both-1.0.0.tgz"), "2.0.0-1.0.0": version("odd"), "0.9.0": version("b-1.tgz")},
            "time": {"created": "c", "1.0.0": "t", "2.0.0-1.0.0": "t", "0.9.0": "t"},
            "dist-tags": {"latest": "2.0.0-1.0.0", "ours": "1.0.0"},
            "_attachments": {"both-1.0.0.tgz": {"shasum": "a"}, "odd": {"shasum": "b"}},
            "_distfiles": {"odd": {}, "b-1.tgz": {}}});
        write("both", &both, &["both-1.0.0.tgz", "odd"]);
        fs::create_dir_all(storage.join("damaged")).unwrap();
        fs::write(storage.join("damaged/package.json"), "{").unwrap();
        for _ in 0..2 {
            separate(&storage, &copies).unwrap();
        }
        let read = |path: &Path| -> Value {
            let text = fs::read_to_string(path.join("package.json")).unwrap();
            serde_json::from_str(&text.replace(r"\ud83d", "")).unwrap()
        };
        assert_eq!(read(&storage.join("@acme/core"))["versions"].as_object().unwrap().len(), 1);
        assert!(storage.join("@acme/core/core-1.0.0.tgz").is_file() && storage.join("damaged").is_dir());
        assert!(copies.join("@corp/copied/copied-2.0.0.tgz").is_file() && !storage.join("@corp/copied").exists());
        assert!(copies.join("ms").is_dir() && !storage.join("ms").exists());
        let both = read(&storage.join("both"));
        let keys = |field: &str| both[field].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys("versions"), ["1.0.0"]);
        assert_eq!(keys("time"), ["1.0.0", "created"]);
        assert_eq!(both["dist-tags"], json!({"ours": "1.0.0"}));
        assert_eq!(keys("_attachments"), ["both-1.0.0.tgz"]);
        assert!(keys("_uplinks").is_empty() && keys("_distfiles").is_empty());
        assert!(storage.join("both/both-1.0.0.tgz").is_file() && !storage.join("both/odd").exists());
    }
}
