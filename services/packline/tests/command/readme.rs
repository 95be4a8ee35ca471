//! README.md promises nothing that no test shows.

use std::{fs, path::Path};

use packline_testkit::table;

#[test]
fn every_promise_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, promises) = readme.split_once("## Promises\n").unwrap();
    assert_eq!(table::problems(&root, promises, 80), [""; 0]);
}
