//! The published files of the members that a build needs, laid over their sources.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use futures::{StreamExt, TryStreamExt, stream};
use packline_layers::{Key, Layer};
use packline_npm::{Access, Client, Packument};
use packline_workspace::{EdgeKind, Installed, Member, MemberId, Workspace};

use crate::{
    folder::BuildFolder,
    phase::{Failure, Runner},
    publish::user_agent,
};

use super::{
    fetch::{Release, look},
    install::Means,
    making::{Needs, is_own, machine},
    outputs::{self, Built},
    show::Room,
    stack::Stack,
};

/// The script that builds a member.
const BUILD: &str = "build";
/// Requests at a time.
const AT_A_TIME: usize = 8;

/// What is laid for one member.
struct Laid {
    folder: PathBuf,
    layer: Layer,
    place: Place,
}

/// Where files of a member are laid.
#[derive(Clone, Copy)]
enum Place {
    /// Over its sources: they are those of its version.
    Over,
    /// Below its sources.
    Below,
    /// The same, for the package that is built.
    Own,
}

/// Lays what `member` needs of its siblings: what is published of their versions over their sources, with what their
/// builds left beside it; where a version is not published yet, what the registry has of an older one below them.
/// Answers the private ones that nobody has built on this machine, in the order in which they need each other.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn lay(
    stack: &mut Stack,
    member: &Member,
    folder: &BuildFolder,
    access: &Access,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<Vec<MemberId>, Failure> {
    let needed = needed(stack, member).await?;
    stack.needed.extend(&needed);
    let client =
        Client::new(access, &user_agent()).map_err(|unusable| Failure::infrastructure(unusable.to_string()))?;
    let public: Vec<(MemberId, String)> = needed
        .iter()
        .filter_map(|id| Some((*id, stack.workspace.member(*id)?)))
        .filter(|(_, member)| !member.manifest().is_private() && member.manifest().version().is_some())
        .filter_map(|(id, member)| Some((id, member.manifest().name()?.to_owned())))
        .collect();
    let looks = stream::iter(public).map(|(id, name)| {
        let client = &client;
        async move { Ok::<_, Failure>((id, look(client, &name).await?)) }
    });
    let looked = runner.unless_stopped(looks.buffered(AT_A_TIME).try_collect::<Vec<_>>()).await;
    let looked = looked.ok_or_else(Failure::killed)??;
    let mut laid = Vec::new();
    for (id, found) in looked {
        let Some(sibling) = stack.workspace.member(id) else { continue };
        let is_own = id == member.id();
        let chosen = found.as_ref().and_then(|found| Chosen::of(sibling, found, is_own));
        let Some(chosen) = chosen else { continue };
        let layer = published(&client, &chosen.release, needs, runner).await?;
        if !chosen.is_current {
            let name = sibling.manifest().name().unwrap_or_default();
            let says = format!(
                "{name} is not published yet; what its sources lack comes from version {}",
                chosen.release.version
            );
            runner.say(needs.phase, &says);
        }
        if chosen.is_current {
            let Release { name, version, integrity, .. } = &chosen.release;
            let output = outputs::find(needs.store, &Built::Published { name, version, integrity }).await?;
            laid.extend(output.map(|layer| Laid {
                folder: sibling.real_folder().to_owned(),
                layer,
                place: Place::Over,
            }));
        }
        let place = match chosen.is_current {
            true => Place::Over,
            false if is_own => Place::Own,
            false => Place::Below,
        };
        laid.push(Laid { folder: sibling.real_folder().to_owned(), layer, place });
    }
    let mut unbuilt = BTreeSet::new();
    for id in &needed {
        let Some(sibling) = stack.workspace.member(*id).filter(|sibling| sibling.manifest().is_private()) else {
            continue;
        };
        match outputs::find(needs.store, &stack.private(sibling, needs.worker, needs.build).await?).await? {
            Some(layer) => laid.push(Laid { folder: sibling.real_folder().to_owned(), layer, place: Place::Over }),
            None if sibling.manifest().script(BUILD).is_some() => drop(unbuilt.insert(*id)),
            None => {}
        }
    }
    let (over, below, own) = (folder.siblings(), folder.fallback(), folder.own_fallback());
    let done = tokio::task::spawn_blocking(move || {
        for folder in [&over, &below, &own] {
            fs::create_dir_all(folder)?;
        }
        for one in &laid {
            let to = match one.place {
                Place::Over => &over,
                Place::Below => &below,
                Place::Own => &own,
            };
            packline_layers::link_tree(one.layer.path(), &to.join(&one.folder))?;
        }
        Ok(())
    });
    done.await.map_err(io::Error::other).flatten().map_err(|error| machine(&error))?;
    stack.has_siblings = true;
    Ok(in_order(&stack.workspace, &unbuilt))
}

/// Builds a private sibling in the view of a build that needs it, which commands see already. It may do without: what it writes is for other
/// packages, and these say what they miss.
///
/// # Errors
/// See [`Failure`]; not where its script fails.
pub(crate) async fn build_private(
    stack: &Stack,
    sibling: &Member,
    means: &Means<'_>,
    runner: &mut Runner,
) -> Result<(), Failure> {
    let name = sibling.link_name().unwrap_or_default();
    let phase = &means.phase.name;
    runner.say(phase, &format!("building {name}, which is private and not built on this machine"));
    let room = Room { root: stack.at.clone(), view: runner.view.clone() };
    match means.run(runner, means.package_manager.run(BUILD), &room, sibling.real_folder()).await {
        Err(failure) if is_own(&failure) => {
            runner.say(phase, &format!("warning: the build of {name} {}", failure.first_line()));
            Ok(())
        }
        done => done,
    }
}

/// Those that are needed by others first.
fn in_order(workspace: &Workspace, chosen: &BTreeSet<MemberId>) -> Vec<MemberId> {
    fn visit(
        workspace: &Workspace,
        chosen: &BTreeSet<MemberId>,
        id: MemberId,
        seen: &mut BTreeSet<MemberId>,
        order: &mut Vec<MemberId>,
    ) {
        if !chosen.contains(&id) || !seen.insert(id) {
            return;
        }
        for edge in workspace.edges(id) {
            visit(workspace, chosen, edge.to(), seen, order);
        }
        order.push(id);
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for id in chosen {
        visit(workspace, chosen, *id, &mut seen, &mut order);
    }
    order
}

/// The members that a build of `member` may load: what it names, what these need when they run, and what installed
/// tools lead to.
async fn needed(stack: &Stack, member: &Member) -> Result<BTreeSet<MemberId>, Failure> {
    let workspace = &stack.workspace;
    let mut needed = declared(workspace, member.id());
    let mut reaches_itself = false;
    for layer in &stack.installed {
        let Some(list) = stack.list(layer).await else { continue };
        let Some(installed) = Installed::of(&list) else { continue };
        let from = [(member.real_folder(), member.manifest().fields()), (Path::new(""), workspace.manifest().fields())];
        let reached = installed.reached(&from);
        let in_folder = |folder: &PathBuf| workspace.members().iter().find(|member| member.real_folder() == folder);
        let reached: BTreeSet<MemberId> = reached.iter().filter_map(in_folder).map(Member::id).collect();
        reaches_itself |= reached.contains(&member.id());
        needed.extend(reached);
    }
    // A tool may need what it is to build.
    if !reaches_itself {
        needed.remove(&member.id());
    }
    Ok(needed)
}

/// What a member names, with what that needs when it runs. A private one is built from its sources, so what its build
/// needs counts.
pub(super) fn declared(workspace: &Workspace, member: MemberId) -> BTreeSet<MemberId> {
    let mut found = BTreeSet::new();
    let mut open: Vec<MemberId> = workspace.edges(member).iter().map(|edge| edge.to()).collect();
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let is_private = workspace.member(id).is_some_and(|member| member.manifest().is_private());
        let edges = workspace.edges(id).iter();
        open.extend(edges.filter(|edge| is_private || edge.kind() != EdgeKind::Development).map(|edge| edge.to()));
    }
    found
}

/// A version of a member at the registry.
struct Chosen {
    release: Release,
    is_current: bool,
}

impl Chosen {
    /// The version that stands in the workspace, else the one that is installed by default.
    fn of(sibling: &Member, found: &Packument, is_own: bool) -> Option<Self> {
        let (name, current) = (sibling.manifest().name()?, sibling.manifest().version()?);
        let of = |version: &str| {
            let release = Release::of(name, version, found)?;
            Some(Self { is_current: version == current, release })
        };
        let latest = || of(found.tags.get("latest")?).filter(|latest| !latest.is_current);
        if is_own { latest() } else { of(current).or_else(latest) }
    }
}

/// The unpacked tarball.
async fn published(
    client: &Client,
    release: &Release,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<Layer, Failure> {
    let Release { name, version, integrity, .. } = release;
    let key =
        Key::of("published", [name, version, integrity]).map_err(|error| Failure::infrastructure(error.to_string()))?;
    let what = format!("the published {name}@{version}");
    let found = needs.layer(&key, &what, runner, async |runner, draft| {
        release.unpack(client, &draft.work(), draft.path(), None, runner).await
    });
    Ok(found.await?.layer)
}
