//! Taking sources once per state.

use std::{
    collections::{BTreeSet, HashMap},
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
    time::Duration,
};

use super::{
    KIND, Request, Sources, SourcesError,
    checkout::{self, Asked, Checkout},
    entry,
    fill::Fill,
    folder, git,
    list::{self, List, Never},
    memory::Memory,
    repository, scan,
    scan::Scan,
};
use crate::{Begin, Draft, Key, Layer, Store};

/// So many times sources are taken that change meanwhile.
pub(super) const TRIES: u32 = 6;
/// After the first time; twice as long after each further one.
const PAUSE: Duration = Duration::from_millis(50);
/// With another process that takes the same and shows no sign of life.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The state of a workspace as a layer, which is made where it is not there yet. Blocks; may be killed at any time.
///
/// # Errors
/// See [`SourcesError`]; nothing is left behind.
pub fn take(request: &Request) -> Result<Sources, SourcesError> {
    let root = match request.root.canonicalize() {
        Ok(root) if root.is_dir() => root,
        _ => return Err(SourcesError::NoFolder(request.root.clone())),
    };
    let store = Store::join(&request.store, request.bounds)?;
    let members: BTreeSet<PathBuf> = request.members.iter().map(|folder| plain(folder)).collect();
    let leave_out = request.leave_out.iter().map(PathBuf::as_path).chain([store.folder()]);
    let leave_out = leave_out.filter_map(|folder| below(&root, folder)).collect();
    Taking { memory: store.inner("states").join(name(&root)), root, store, members, leave_out }.take()
}

struct Taking {
    root: PathBuf,
    store: Store,
    members: BTreeSet<PathBuf>,
    leave_out: Vec<PathBuf>,
    /// Where the memory of this workspace is.
    memory: PathBuf,
}

/// A state of the workspace.
struct State {
    checkout: Option<Checkout>,
    list: List,
    scan: Scan,
    digest: String,
    key: Key,
}

impl Taking {
    fn take(&self) -> Result<Sources, SourcesError> {
        let last = Memory::read(&self.memory);
        let mut known = last.clone();
        let mut changed = PathBuf::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                thread::sleep(PAUSE * 2_u32.pow(attempt - 1));
            }
            let mut state = self.look(&known)?;
            known = state.scan.memory.clone();
            let taken = match state.scan.changed.take() {
                Some(path) => Err(path),
                None => self.layer(&state, &last)?,
            };
            match taken {
                Ok((layer, was_there)) => {
                    let memory = Memory { layer: Some(layer.key().clone()), files: state.scan.memory.files };
                    if memory != last {
                        memory.write(&self.memory)?;
                    }
                    return Ok(Sources {
                        key: state.key,
                        path: layer.path().to_owned(),
                        digest: state.digest,
                        commit: state.checkout.as_ref().and_then(|checkout| checkout.commit.clone()),
                        objects: state.checkout.map(|checkout| checkout.objects),
                        was_there,
                        left_out: state.list.left_out,
                        list: layer.note.clone(),
                    });
                }
                Err(path) => changed = path,
            }
        }
        Err(SourcesError::Changing(changed))
    }

    /// What the workspace is now.
    fn look(&self, known: &Memory) -> Result<State, SourcesError> {
        let never = Never { members: &self.members, leave_out: &self.leave_out };
        let (checkout, mut list) = match self.checkout(&never)? {
            Some((checkout, list)) => (Some(checkout), list),
            None => (None, folder::list(&self.root, &never)?),
        };
        let scan = scan::scan(&self.root, &mut list, &self.members, known)?;
        let commit = checkout.as_ref().and_then(|checkout| checkout.commit.as_deref());
        let digest = entry::digest(&scan.files, commit);
        let mut parts = vec![digest.clone().into_bytes()];
        if let Some(checkout) = &checkout {
            parts.extend(checkout.parts());
            parts.push(list.index.to_vec());
        }
        let key = Key::of(KIND, parts).map_err(|error| SourcesError::Machine(error.to_string()))?;
        Ok(State { checkout, list, scan, digest, key })
    }

    /// The checkout that the workspace is, or is a part of.
    fn checkout(&self, never: &Never<'_>) -> Result<Option<(Checkout, List)>, SourcesError> {
        if !checkout::is_in_one(&self.root) {
            return Ok(None);
        }
        // A folder that the checkout around it ignores is no part of it, unless something in it is tracked.
        if !checkout::has_repository(&self.root)
            && git::start(&self.root, &["check-ignore", "-q", "."])?.output()?.status.success()
            && git::run(&self.root, &["ls-files"])?.is_empty()
        {
            return Ok(None);
        }
        let asked = Asked::about(&self.root)?;
        let list = list::list(&self.root, never);
        Ok(Some((asked.answer(&self.root)?, list?)))
    }

    /// The layer of a state, and whether it was there before; or a path that is no longer as it was.
    fn layer(&self, state: &State, last: &Memory) -> Result<Result<(Layer, bool), PathBuf>, SourcesError> {
        loop {
            match self.store.begin(&state.key)? {
                Begin::Found(layer) => return Ok(Ok((layer, true))),
                Begin::Busy => {
                    self.store.wait(&state.key, &AtomicBool::new(false), TIMEOUT)?;
                }
                Begin::Make(draft) => return Ok(self.make(draft, state, last)?.map(|layer| (layer, false))),
            }
        }
    }

    fn make(&self, mut draft: Draft, state: &State, last: &Memory) -> Result<Result<Layer, PathBuf>, SourcesError> {
        let layer = match &last.layer {
            Some(key) => self.store.find(key)?,
            None => None,
        };
        let target = draft.path();
        let fill = Fill {
            root: &self.root,
            members: &self.members,
            found: &state.scan.memory,
            last: layer.as_ref().map(|layer| (layer, last)),
            target: &target,
        };
        if let Some(path) = fill.write(&state.scan.files)? {
            return Ok(Err(path));
        }
        if let Some(checkout) = &state.checkout {
            repository::write(&self.root, checkout, &target)?;
        }
        // What was written is one state only if nothing has changed since the first look.
        let now = self.look(&state.scan.memory)?;
        if now.key != state.key {
            return Ok(Err(difference(state, &now)));
        }
        draft.note(entry::write(&state.scan.files));
        Ok(Ok(draft.finish()?))
    }
}

/// A path that is different in two states.
fn difference(one: &State, other: &State) -> PathBuf {
    let differs = |a: &State, b: &State| {
        let known: HashMap<_, _> = b.scan.files.iter().map(|file| (&file.path, &file.kind)).collect();
        let mut files = a.scan.files.iter();
        files.find(|file| known.get(&file.path) != Some(&&file.kind)).map(|file| file.path.clone())
    };
    differs(one, other).or_else(|| differs(other, one)).unwrap_or_else(|| ".git".into())
}

/// A folder as it stands in the paths of a list.
fn plain(folder: &Path) -> PathBuf {
    folder.components().filter(|part| *part != Component::CurDir).collect()
}

/// Where a folder is in the workspace; `None` where it is not in it, or is the workspace itself.
fn below(root: &Path, folder: &Path) -> Option<PathBuf> {
    let resolved = folder.canonicalize().ok()?;
    let below = resolved.strip_prefix(root).ok()?;
    (!below.as_os_str().is_empty()).then(|| below.to_owned())
}

/// The name of the memory of a workspace.
fn name(root: &Path) -> String {
    let key = Key::of(KIND, [root.as_os_str().as_bytes()]);
    key.map_or_else(|_| "other".into(), |key| key.digest().to_owned())
}
