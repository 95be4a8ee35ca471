//! Links in the workspace: copied where they stay in the copy, left out and named where they do not.

use std::{fs, os::unix::fs::symlink, path::PathBuf, time::Duration};

use packline_builder_worker::isolated::{links, not_packed};
use packline_domain::Outcome;

use crate::{
    foreman::Foreman,
    isolated::{Place, files},
};

/// The copy has no `link`, and says so.
fn link_is_left_out(place: &Place, target: &str) {
    let copy = place.prepare().unwrap();
    assert_eq!(copy.left_out, ["link is a link that leads out of the package"], "{target}");
    assert!(fs::symlink_metadata(copy.package.join("link")).is_err(), "{target}");
    assert!(copy.package.join("src/index.js").is_file(), "the rest is copied: {target}");
    copy.remove();
}

#[test]
fn links_that_lead_out_are_left_out_and_that_is_said() {
    let targets = [
        "/etc/passwd",
        "/nix/store/abc-lib",
        "../lib/README.md",
        "../other",
        "../../..",
        "src/../../other/x",
        "../core-evil/x",
        "src/../../missing",
    ];
    for target in targets {
        let place = Place::new();
        for file in ["other/x", "core-evil/x", "lib/README.md"] {
            place.write(&format!("packages/{file}"), "secret");
        }
        symlink(target, place.root().join("packages/core/link")).unwrap();
        link_is_left_out(&place, target);
    }
    // Up through the root of the machine and down again: that is the source, also from the copy.
    let place = Place::new();
    place.write("packages/core/src/index.js", "source");
    let round = format!("{}{}", "../".repeat(40), place.root().join("packages/core/src/index.js").display());
    symlink(round.replace("//", "/"), place.root().join("packages/core/link")).unwrap();
    link_is_left_out(&place, "up and down");
    // The same by its full path.
    let place = Place::new();
    symlink(place.root().join("packages/core/src"), place.root().join("packages/core/link")).unwrap();
    link_is_left_out(&place, "absolute");
    // Through another link, whose way up counts for more than it looks.
    let place = Place::new();
    symlink(".", place.root().join("packages/core/here")).unwrap();
    symlink("here/../../core/new", place.root().join("packages/core/link")).unwrap();
    link_is_left_out(&place, "through another");
    let place = Place::new();
    symlink("missing-yet", place.root().join("packages/core/link")).unwrap();
    symlink("../package.json", place.root().join("packages/core/src/up")).unwrap();
    let copy = place.prepare().unwrap();
    assert!(copy.left_out.is_empty(), "{:?}", copy.left_out);
    assert!(copy.package.join("src/up").is_file());
}

#[test]
fn a_link_through_one_that_is_left_out_leads_nowhere() {
    let place = Place::new();
    place.write("packages/other/file", "source");
    symlink(place.root().join("packages/other"), place.root().join("packages/core/out")).unwrap();
    symlink("out/file", place.root().join("packages/core/link")).unwrap();
    // To nothing yet: a write through it would create it in the source.
    symlink("out/new", place.root().join("packages/core/new")).unwrap();
    let mut copy = place.prepare().unwrap();
    copy.left_out.sort();
    assert_eq!(copy.left_out, ["link", "out"].map(|link| format!("{link} is a link that leads out of the package")));
    assert!(fs::write(copy.package.join("new"), "altered").is_err());
    fs::write(copy.package.join("link"), "altered").unwrap();
    assert_eq!(files(&place.root().join("packages/other")), ["file"]);
    assert_eq!(fs::read_to_string(place.root().join("packages/other/file")).unwrap(), "source");
}

#[test]
fn of_many_links_that_lead_out_20_are_named_and_the_others_counted() {
    let place = Place::new();
    fs::create_dir_all(place.root().join("packages/core/.venv/bin")).unwrap();
    for n in 0..53 {
        symlink("/usr/bin/python3", place.root().join(format!("packages/core/.venv/bin/python{n}"))).unwrap();
    }
    let copy = place.prepare().unwrap();
    assert_eq!(copy.left_out.len(), 21, "{:?}", copy.left_out);
    assert!(copy.left_out[0].starts_with(".venv/bin/python"), "{:?}", copy.left_out);
    assert_eq!(copy.left_out[20], "33 more links that lead out of the package");
}

#[test]
fn links_of_a_package_are_found_but_not_followed() {
    let place = Place::new();
    let package = place.root().join("packages/core");
    place.write("packages/core/fixtures/node_modules/dep/index.js", "");
    place.write("packages/core/node_modules/dep/index.js", "");
    symlink("dep", package.join("node_modules/alias")).unwrap();
    symlink("dep", package.join("fixtures/node_modules/alias")).unwrap();
    symlink("..", package.join("src/round")).unwrap();
    symlink("missing", package.join("LICENSE")).unwrap();
    let expected = ["LICENSE", "fixtures/node_modules/alias", "src/round"];
    assert_eq!(links(&package), expected.map(PathBuf::from));
    assert_eq!(not_packed(&package), expected.map(|link| format!("link {link} is not packed: npm packs no links")));
    for n in 0..40 {
        symlink("x", package.join(format!("z{n}"))).unwrap();
    }
    let lines = not_packed(&package);
    assert_eq!((lines.len(), lines[20].as_str()), (21, "23 more links are not packed"));
    assert!(links(&package.join("missing")).is_empty());
}

#[test]
fn a_link_to_what_is_shared_leads_to_the_copy_of_it() {
    let place = Place::new();
    place.write("LICENSE", "free");
    place.write("config/tsconfig.json", "{}");
    place.write("packages/other/x", "secret");
    symlink("../../LICENSE", place.root().join("packages/core/LICENSE")).unwrap();
    symlink("../../../config/tsconfig.json", place.root().join("packages/core/src/tsconfig.json")).unwrap();
    symlink("config/tsconfig.json", place.root().join("tsconfig.json")).unwrap();
    for (link, target) in [("outside", "/etc/passwd"), ("sibling", "packages/other/x"), ("config/up", "../../x")] {
        symlink(target, place.root().join(link)).unwrap();
    }
    let copy = place.prepare().unwrap();
    fs::write(copy.package.join("LICENSE"), "altered").unwrap();
    assert_eq!(fs::read_to_string(copy.root.join("LICENSE")).unwrap(), "altered");
    assert_eq!(fs::read_to_string(place.root().join("LICENSE")).unwrap(), "free");
    assert!(copy.package.join("src/tsconfig.json").is_file() && copy.root.join("tsconfig.json").is_file());
    for link in ["outside", "sibling", "config/up"] {
        assert!(fs::symlink_metadata(copy.root.join(link)).is_err(), "{link}");
    }
    assert_eq!(copy.left_out.len(), 3, "{:?}", copy.left_out);
}

#[tokio::test]
async fn a_build_goes_on_without_a_link_that_leads_out_and_its_log_says_so() {
    let mut foreman = Foreman::new(Duration::from_secs(60)).await;
    foreman.crate_of("thing", &[("fixtures/node_modules/dep/index.js", ""), ("template/.npmrc", "")]);
    let package = foreman.workspace().join("packages/thing");
    symlink("../lib/README.md", package.join("README.md")).unwrap();
    let line = "test ! -L README.md && test -f fixtures/node_modules/dep/index.js && test -f template/.npmrc";
    let recipe = format!("[[phase]]\nname = \"looks\"\nrun = [\"sh\", \"-c\", '{line}']\n");
    let recipe = foreman.recipe(&recipe);
    let _worker = foreman.worker("one", &[("RECIPE", &recipe), ("NPM_REGISTRY", "http://127.0.0.1:9")]);
    let result = foreman.build("thing").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    foreman
        .log_until(&result.build_id, "looks| left out of the copy: README.md is a link that leads out of the package")
        .await;
}
