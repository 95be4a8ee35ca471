//! One folder of a view as the layers hold it, by the rules of the kernel's overlay.
//!
//! What is in a layer was left by a build and may be hostile. Every step is made from an open folder to a name in it,
//! and no step follows a link.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fgetxattr, lgetxattr, major, minor, openat, readlinkat, statat},
    io::Errno,
};

/// A whiteout that is no device: an empty file with this attribute.
const WHITEOUT: &str = "user.overlay.whiteout";
/// A folder with this attribute, of the value `y`, hides those below it.
const OPAQUE: &str = "user.overlay.opaque";

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder of the view: the folders of those layers that are part of it, each with the number of its layer.
#[derive(Clone, Debug)]
pub(super) struct Folder(Vec<(usize, Arc<OwnedFd>)>);

/// What a name in a folder is.
#[derive(Debug)]
pub(super) enum Node {
    Folder(Folder),
    Link(OsString),
    /// In this layer.
    File(usize),
    /// In this layer: a device, a pipe or a socket.
    Other(usize),
}

/// What a name in a layer is, before anything is opened.
enum Found {
    Nothing,
    Whiteout,
    Of(FileType),
}

impl Folder {
    /// The root of a view; layers that are not there hold nothing.
    pub(super) fn root<'a>(layers: impl Iterator<Item = &'a Path>) -> io::Result<Self> {
        let mut folders = Vec::new();
        for (number, layer) in layers.enumerate() {
            match openat(CWD, layer, FOLDER, Mode::empty()) {
                Ok(folder) => folders.push((number, Arc::new(folder))),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self(folders))
    }

    /// The number of the layer that is on top here.
    pub(super) fn top(&self) -> Option<usize> {
        self.0.first().map(|(number, _)| *number)
    }

    /// The number of the layer that alone has it.
    pub(super) fn only(&self) -> Option<usize> {
        let [(number, _)] = self.0.as_slice() else { return None };
        Some(*number)
    }

    /// The folder of one layer.
    fn of(&self, layer: usize) -> Option<&Arc<OwnedFd>> {
        self.0.iter().find(|(number, _)| *number == layer).map(|(_, folder)| folder)
    }

    /// What is seen here under this name; `None` where nothing is.
    pub(super) fn child(&self, name: &OsStr) -> io::Result<Option<Node>> {
        let mut folders = Vec::new();
        for (layer, folder) in &self.0 {
            match found(folder, name)? {
                Found::Nothing => {}
                Found::Whiteout => break,
                Found::Of(FileType::Directory) => {
                    let inner = openat(folder, name, FOLDER, Mode::empty())?;
                    let opaque = is_opaque(&inner);
                    folders.push((*layer, Arc::new(inner)));
                    if opaque {
                        break;
                    }
                }
                // It ends a folder that lies above, and is covered by it.
                Found::Of(_) if !folders.is_empty() => break,
                Found::Of(FileType::Symlink) => {
                    let target = readlinkat(folder, name, Vec::new())?;
                    return Ok(Some(Node::Link(OsString::from_vec(target.into_bytes()))));
                }
                Found::Of(FileType::RegularFile) => return Ok(Some(Node::File(*layer))),
                Found::Of(_) => return Ok(Some(Node::Other(*layer))),
            }
        }
        Ok((!folders.is_empty()).then_some(Node::Folder(Self(folders))))
    }

    /// All names that are seen here, each with what it is, in the order of the names.
    pub(super) fn entries(&self) -> io::Result<BTreeMap<OsString, FileType>> {
        let mut seen: BTreeMap<OsString, Option<FileType>> = BTreeMap::new();
        for (_, folder) in &self.0 {
            for entry in Dir::read_from(folder)? {
                let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
                if name == "." || name == ".." || seen.contains_key(&name) {
                    continue;
                }
                match found(folder, &name)? {
                    Found::Nothing => {}
                    Found::Whiteout => drop(seen.insert(name, None)),
                    Found::Of(kind) => drop(seen.insert(name, Some(kind))),
                }
            }
        }
        Ok(seen.into_iter().filter_map(|(name, kind)| Some((name, kind?))).collect())
    }

    /// Opens a file of one layer for reading. It does not wait for the other end of a pipe.
    pub(super) fn open(&self, layer: usize, name: &OsStr) -> io::Result<File> {
        let folder = self.of(layer).ok_or(io::ErrorKind::NotFound)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(folder, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no file any more"));
        }
        Ok(file)
    }
}

fn found(folder: &OwnedFd, name: &OsStr) -> io::Result<Found> {
    let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(error) => return Err(error.into()),
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    let whiteout = match kind {
        FileType::CharacterDevice => major(stat.st_rdev) == 0 && minor(stat.st_rdev) == 0,
        FileType::RegularFile => stat.st_size == 0 && has_whiteout(folder, name),
        _ => false,
    };
    Ok(if whiteout { Found::Whiteout } else { Found::Of(kind) })
}

fn has_whiteout(folder: &OwnedFd, name: &OsStr) -> bool {
    // There is no call that takes a folder and a name.
    let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    lgetxattr(path, WHITEOUT, &mut [0; 8][..]).is_ok()
}

fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 8];
    matches!(fgetxattr(folder, OPAQUE, &mut value[..]), Ok(1)) && value.starts_with(b"y")
}
