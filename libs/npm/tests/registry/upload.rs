//! A large tarball takes no memory.

use std::{
    env,
    fs::File,
    io::{BufWriter, Write},
    process::Command,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use packline_npm::{Access, Document};
use procfs::process::Process;
use sha2::{Digest, Sha512};

use crate::stand::{SOON, Stand, answer, client};

/// Names the registry to the process that uploads.
const REGISTRY: &str = "PACKLINE_TEST_REGISTRY";

const PIECES: u32 = 50;
const PIECE: usize = 1 << 20;

/// KiB that an upload may take.
const ROOM: u64 = 16 << 10;

fn peak() -> u64 {
    Process::myself().unwrap().status().unwrap().vmhwm.unwrap()
}

/// In a process of its own, because its memory is counted.
#[test]
fn fifty_megabytes_are_sent_in_bounded_memory() {
    if let Ok(registry) = env::var(REGISTRY) {
        return upload(&registry);
    }
    let registry = Stand::new(|_| answer(201, &[], "{}"));
    let name = "upload::fifty_megabytes_are_sent_in_bounded_memory";
    let mut alone = Command::new(env::current_exe().unwrap());
    let ended = alone.args(["--exact", name, "--nocapture"]).env(REGISTRY, &registry.url).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let asked = registry.only();
    let mut hash = Sha512::new();
    let start = br#"{"name":"x","_attachments":{"x-1.0.0.tgz":{"content_type":"application/octet-stream","data":""#;
    let end = format!(r#"","length":{}}}}}}}"#, PIECES as usize * PIECE);
    hash.update(start);
    // A piece is no multiple of three bytes, and three of them are.
    for three in 0..PIECES / 3 {
        let bytes: Vec<u8> = (0..3).flat_map(|index| vec![(three * 3 + index) as u8; PIECE]).collect();
        hash.update(BASE64_STANDARD.encode(bytes));
    }
    let rest: Vec<u8> = (PIECES - PIECES % 3..PIECES).flat_map(|index| vec![index as u8; PIECE]).collect();
    hash.update(BASE64_STANDARD.encode(rest));
    hash.update(&end);
    assert_eq!(asked.hash, hash.finalize().to_vec());
}

fn upload(registry: &str) {
    let folder = tempfile::tempdir().unwrap();
    let tarball = folder.path().join("x.tgz");
    let (mut file, mut hash) = (BufWriter::new(File::create(&tarball).unwrap()), Sha512::new());
    for index in 0..PIECES {
        let piece = vec![index as u8; PIECE];
        hash.update(&piece);
        file.write_all(&piece).unwrap();
    }
    file.flush().unwrap();
    let integrity = format!("sha512-{}", BASE64_STANDARD.encode(hash.finalize()));
    let head = r#"{"name":"x"}"#.to_owned();
    let document = Document { name: "x".into(), version: "1.0.0".into(), head, tarball, integrity };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = client(&Access::open(registry));
    let before = peak();
    runtime.block_on(client.put(&document, SOON)).unwrap();
    let taken = peak() - before;
    assert!(taken < ROOM, "{taken} KiB");
}
