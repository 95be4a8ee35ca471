//! The private copy on a file system that can share blocks: XFS, made for the test where this machine lets one.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::AtomicBool,
};

use packline_builder_worker::isolated;
use packline_domain::{BuildId, PackagePath};
use tempfile::TempDir;

/// XFS wants 300 MB; the image is sparse.
const IMAGE: u64 = 400 << 20;
const HUGE: u64 = 100 << 20;

/// A file system in a file, unmounted on drop.
struct Xfs {
    folder: TempDir,
}

impl Xfs {
    /// `None` where there is no `mkfs.xfs`, or where this user may not mount.
    fn mount() -> Option<Self> {
        let xfs = Self { folder: tempfile::tempdir().unwrap() };
        let image = xfs.folder.path().join("image");
        File::create(&image).unwrap().set_len(IMAGE).unwrap();
        fs::create_dir(xfs.path()).unwrap();
        let done = |program: &mut Command| program.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        let made = done(Command::new("mkfs.xfs").arg("-q").arg(&image));
        (made && done(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(xfs.path()))).then_some(xfs)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("xfs")
    }

    /// Free space in bytes, when all is written.
    fn free(&self) -> u64 {
        assert!(Command::new("sync").arg("-f").arg(self.path()).status().unwrap().success());
        let df = Command::new("df").args(["--block-size=1", "--output=avail"]).arg(self.path()).output().unwrap();
        String::from_utf8(df.stdout).unwrap().lines().last().unwrap().trim().parse().unwrap()
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).stderr(Stdio::null()).status();
    }
}

fn write(path: &Path, text: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn where_the_file_system_can_a_copy_takes_no_space_of_its_own_and_is_one_all_the_same() {
    let Some(xfs) = Xfs::mount() else {
        let why = "no mkfs.xfs here, or no right to mount";
        writeln!(std::io::stderr(), "left out: the copy on a file system that shares blocks: {why}").unwrap();
        return;
    };
    let (root, scratch) = (xfs.path().join("workspace"), xfs.path().join("scratch"));
    write(&root.join("package.json"), br#"{"workspaces": ["packages/*"]}"#);
    write(&root.join("packages/core/package.json"), br#"{"name": "@acme/core"}"#);
    let huge = root.join("packages/core/huge");
    write(&huge, &vec![b'x'; usize::try_from(HUGE).unwrap()]);
    fs::create_dir(&scratch).unwrap();
    let before = xfs.free();
    let build = BuildId { package: "@acme/core".parse().unwrap(), serial: 1 };
    let copy =
        isolated::prepare(&scratch, &root, &PackagePath::of_name(&build.package), &build, &AtomicBool::new(false))
            .unwrap();
    let taken = before.saturating_sub(xfs.free());
    assert!(taken < HUGE / 10, "{taken} bytes were taken for a copy of {HUGE}");
    let copied = copy.package.join("huge");
    assert_eq!(fs::metadata(&copied).unwrap().len(), HUGE);
    fs::write(&copied, "changed").unwrap();
    assert_eq!(fs::metadata(&huge).unwrap().len(), HUGE, "the source stays as it is");
}
