//! What goes into the folder of an install, and what is kept of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use packline_layers::Draft;

use crate::{guard::View, phase::Failure};

use super::super::{
    linked::Link,
    making::machine,
    show::{Room, Views},
    skeleton::Skeleton,
};

/// Writes the skeleton below a draft; answers where to install, and the folder that an install writes to.
pub(super) async fn lay_out(skeleton: Arc<Skeleton>, draft: &Draft, views: &Views) -> Result<(Room, PathBuf), Failure> {
    let (base, views) = (draft.work(), views.clone());
    let written = tokio::task::spawn_blocking(move || {
        let [lower, upper, work] = ["skeleton", "upper", "work"].map(|name| base.join(name));
        fs::create_dir(&lower)?;
        skeleton.write(&lower)?;
        let Views::Overlays { at } = views else { return Ok((Room { root: lower.clone(), view: None }, lower)) };
        for folder in [&upper, &work] {
            fs::create_dir(folder)?;
        }
        let view = View { at: at.clone(), lower: vec![lower], upper: upper.clone(), work };
        Ok((Room { root: at, view: Some(view) }, upper))
    });
    written.await.map_err(io::Error::other).flatten().map_err(|error: io::Error| machine(&error))
}

pub(super) async fn link(links: Vec<Link>, layer: PathBuf, folder: PathBuf) -> Result<(), Failure> {
    let linked = tokio::task::spawn_blocking(move || {
        links.iter().try_for_each(|link| link.create(&layer, &folder).map_err(|error| unlinked(link, &error)))
    });
    linked.await.map_err(|error| machine(&io::Error::other(error)))?
}

fn unlinked(link: &Link, error: &io::Error) -> Failure {
    let place = link.place.display();
    match error.kind() {
        io::ErrorKind::NotADirectory => Failure::permanent(format!(
            "the lock file has {place} below what is no folder of a package; a lock file that npm has written is needed"
        )),
        io::ErrorKind::AlreadyExists => {
            Failure::permanent(format!("npm has installed something else at {place}, where a sibling is to be linked"))
        }
        _ => machine(error),
    }
}

/// Moves node_modules of the root and of members, and at the root of the install what else the manager `leaves`: manifests,
/// lock files and stubs are the skeleton's.
pub(super) async fn harvest(upper: PathBuf, to: PathBuf, leaves: Vec<&'static str>) -> Result<(), Failure> {
    let moved = tokio::task::spawn_blocking(move || {
        harvest_folder(&upper, &to)?;
        for path in leaves.into_iter().filter(|path| upper.join(path).symlink_metadata().is_ok()) {
            let target = to.join(path);
            fs::create_dir_all(target.parent().unwrap_or(&to))?;
            fs::rename(upper.join(path), target)?;
        }
        Ok(())
    });
    moved.await.map_err(io::Error::other).flatten().map_err(|error| machine(&error))
}

fn harvest_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || entry.file_name() == ".yarn" {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_name() == "node_modules" {
            fs::create_dir_all(to)?;
            fs::rename(entry.path(), target)?;
        } else {
            harvest_folder(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Copies a lock file to a layer of its own.
pub(super) async fn take_lock(from: PathBuf, to: PathBuf) -> Result<(), Failure> {
    let copied = tokio::task::spawn_blocking(move || fs::copy(from, to).map(drop)).await;
    copied.map_err(io::Error::other).flatten().map_err(|error| machine(&error))
}
