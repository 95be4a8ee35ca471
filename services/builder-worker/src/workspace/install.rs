//! `install`: the installed layer, and the scripts of the root that belong to an install.

mod files;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use packline_domain::Outcome;
use packline_layers::{Key, Layer};
use packline_npm::{Access, Client};
use packline_recipe::Phase;
use packline_workspace::{Installed, Kind, Manager, Member, MemberId, Workspace};

use crate::{
    package_manager::{self, PackageManager},
    phase::{Command, Failure, Runner, verdict},
    publish::user_agent,
};

use super::{
    env, held,
    linked::{self, Link},
    making::{Needs, is_own, machine},
    show::{Room, Views},
    skeleton::{Part, Skeleton, locks},
    stack::{Stack, below},
};

use files::{harvest, lay_out, link, take_lock};

/// The kind of layers of what managers install.
pub(super) const INSTALLED: &str = "installed";

/// How many siblings that do not fit are named.
const MISFITS: usize = 5;

/// How a phase of one build runs commands.
pub(crate) struct Means<'a> {
    pub(crate) package_manager: &'a PackageManager,
    /// To the registry of the build.
    pub(crate) access: &'a Access,
    pub(crate) phase: &'a Phase,
    /// Beside that of the build.
    pub(crate) env: &'a BTreeMap<String, String>,
}

impl Means<'_> {
    /// Runs a command in a folder of a room, to a good end.
    pub(crate) async fn run(
        &self,
        runner: &mut Runner,
        argv: Vec<String>,
        room: &Room,
        folder: &Path,
    ) -> Result<(), Failure> {
        let limits = self.phase.limits.clone();
        let is_manager = package_manager::is_itself(&argv);
        let command = Command::new(&self.phase.name, limits.clone());
        let (mut env, cwd) = (self.env.clone(), below(&room.root, folder));
        env.insert("WORKSPACE_ROOT".to_owned(), room.root.display().to_string());
        let command = Command { argv, env: &env, cwd: Some(&cwd), view: room.view.clone(), ..command };
        let (end, printed) = runner.command(command).await?;
        verdict(&end, &printed, &limits, is_manager)
    }
}

/// Adds what the workspace's manager installs for `member` to the stack; true where this build had to make a layer.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn install(
    stack: &mut Stack,
    member: &Member,
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<bool, Failure> {
    let mut is_new = false;
    for unit in units(&stack.workspace, member) {
        let ready = unit.ready(stack, means, runner).await?;
        let (layer, made) = unit.install(ready, stack, means, needs, runner).await?;
        if let Views::Copies = stack.views
            && let Some(list) = stack.list(&layer).await
            && let Some(installed) = Installed::of(&list)
        {
            stack.leading_back.extend(installed.leading_back());
        }
        // A fix runs a phase again, and no overlay has a layer twice.
        let add = |layers: &mut Vec<Layer>, layer: Layer| {
            if !layers.iter().any(|known| known.key() == layer.key()) {
                layers.push(layer);
            }
        };
        if let Some(lock) = changed_lock(&layer, &stack.workspace, needs, runner).await? {
            add(&mut stack.root, lock);
        }
        add(&mut stack.installed, layer);
        is_new |= made;
    }
    Ok(is_new)
}

/// The lock file that an install has changed. It is to lie over that of the sources: by another one than that of the
/// install, Yarn finds nothing of what is installed.
async fn changed_lock(
    installed: &Layer,
    workspace: &Workspace,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<Option<Layer>, Failure> {
    let name = locks(workspace.manager()).iter().find(|name| installed.path().join(name).is_file());
    let Some(name) = name.filter(|_| !workspace.locked_elsewhere().is_empty()) else { return Ok(None) };
    let key =
        Key::of("lock", [installed.key().digest()]).map_err(|error| Failure::infrastructure(error.to_string()))?;
    let made = needs.layer(&key, "the lock file of the install", runner, async |_, draft| {
        take_lock(installed.path().join(name), draft.path().join(name)).await
    });
    Ok(Some(made.await?.layer))
}

/// How members that each install by themselves get the versions of siblings that the workspace holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Siblings {
    /// As links to their folders.
    Linked,
    /// As they are published.
    Published,
}

/// What is installed for all members, where each is installed by itself. One whose install fails is left out, and
/// one that needs what is not published yet.
///
/// # Errors
/// See [`Failure`]; not where an install fails by its own fault.
pub(crate) async fn install_others(
    stack: &Stack,
    siblings: Siblings,
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<Vec<Layer>, Failure> {
    let mut layers = Vec::new();
    let workspace = Arc::clone(&stack.workspace);
    for unit in workspace.members().iter().filter_map(|member| units(&workspace, member).into_iter().next()) {
        if unit.folder.as_os_str().is_empty() {
            continue;
        }
        let ready = match siblings {
            Siblings::Linked => unit.linked(stack).await?,
            Siblings::Published => unit.ready(stack, means, runner).await?,
        };
        if let Some(missing) = &ready.missing {
            runner.say(
                needs.phase,
                &format!("{} is not installed: {missing} is not published yet", unit.folder.display()),
            );
            continue;
        }
        // The build can do without it.
        let unfixed = Needs { fix: None, ..*needs };
        match unit.install(ready, stack, means, &unfixed, runner).await {
            Ok((layer, _)) => layers.push(layer),
            Err(failure) if is_own(&failure) => {
                runner.say(needs.phase, &format!("warning: {}", failure.first_line()));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(layers)
}

impl Unit {
    /// What is to be installed, with links to siblings in place of their versions.
    async fn linked(&self, stack: &Stack) -> Result<Ready, Failure> {
        let mut skeleton = skeleton(stack, self).await?;
        let workspace = &stack.workspace;
        let (names, links) = match skeleton.lock() {
            Some(lock) => match linked::cut(lock, workspace) {
                Some(cut) => {
                    Arc::make_mut(&mut skeleton).replace_lock(cut.lock, &[]);
                    (cut.names, cut.links)
                }
                None => Default::default(),
            },
            None => {
                let of_unit = self.members.iter().filter_map(|id| workspace.member(*id));
                let (names, links): (Vec<_>, Vec<_>) =
                    of_unit.map(|member| linked::of_edges(workspace, member)).unzip();
                (names.into_iter().flatten().collect(), links.into_iter().flatten().collect())
            }
        };
        if !links.is_empty() {
            let parts = links.iter().flat_map(|link| [&link.place, &link.target]);
            let parts: Vec<&[u8]> = parts.map(|path| path.as_os_str().as_encoded_bytes()).collect();
            Arc::make_mut(&mut skeleton).leave_out(&names, &parts);
        }
        Ok(Ready { skeleton, missing: None, links })
    }

    /// What is to be installed, as the registry is now.
    async fn ready(&self, stack: &Stack, means: &Means<'_>, runner: &mut Runner) -> Result<Ready, Failure> {
        let mut skeleton = skeleton(stack, self).await?;
        let workspace = &stack.workspace;
        let unpinned = skeleton.lock().filter(|_| workspace.kind() == Kind::Lerna);
        let Some((mut held, lock)) = unpinned.and_then(|lock| held::unpin(lock, workspace)) else {
            return Ok(Ready { skeleton, missing: None, links: Vec::new() });
        };
        let client = Client::new(means.access, &user_agent());
        let client = client.map_err(|unusable| Failure::infrastructure(unusable.to_string()))?;
        held::ask(&mut held, &client, runner).await?;
        let parts =
            held.iter().flat_map(|one| [&*one.name, &*one.version, one.integrity.as_deref().unwrap_or_default()]);
        Arc::make_mut(&mut skeleton).replace_lock(lock, &parts.collect::<Vec<_>>());
        let missing = held.iter().find(|one| one.integrity.is_none());
        let missing = missing.map(|one| format!("{}@{}", one.name, one.version));
        Ok(Ready { skeleton, missing, links: Vec::new() })
    }

    /// The layer, and whether this build made it.
    async fn install(
        &self,
        ready: Ready,
        stack: &Stack,
        means: &Means<'_>,
        needs: &Needs<'_>,
        runner: &mut Runner,
    ) -> Result<(Layer, bool), Failure> {
        let unit = self;
        let Ready { skeleton, links, .. } = ready;
        let key = key(&skeleton, stack, means)?;
        let what = match unit.folder.as_os_str().is_empty() {
            true => "the install of the workspace".to_owned(),
            false => format!("the install in {}", unit.folder.display()),
        };
        // The registry of the build does not have them yet, and no other one may be asked.
        let linked = stack.workspace.locked_elsewhere();
        let settings = means.package_manager.settings(stack.workspace.settings(), &linked, |name| skeleton.text(name));
        let skeleton = Arc::new(skeleton.with_settings(settings));
        let found = needs.layer(&key, &what, runner, async |runner, draft| {
            let upper = loop {
                let (room, upper) = lay_out(Arc::clone(&skeleton), draft, &stack.views).await?;
                let argv = means.package_manager.install(skeleton.locked && linked.is_empty());
                match means.run(runner, argv, &room, &unit.folder).await {
                    Ok(()) => break upper,
                    Err(failure) => needs.fix(failure, draft, runner).await?,
                }
            };
            harvest(upper, draft.path(), means.package_manager.leaves()).await?;
            link(links, draft.path(), unit.folder.clone()).await
        });
        let found = found.await.map_err(|failure| explained(&stack.workspace, &unit.members, failure))?;
        Ok((found.layer, found.is_new))
    }
}

/// A sibling that no range takes is asked of the registry, which does not know what is wrong.
fn explained(workspace: &Workspace, members: &BTreeSet<MemberId>, failure: Failure) -> Failure {
    let name = |member: &Member| member.link_name().unwrap_or_default();
    let installed = members.iter().filter_map(|id| workspace.member(*id));
    let misfits = installed.flat_map(|member| {
        let of_member = workspace.misfits(member.id()).iter();
        of_member.filter_map(move |misfit| {
            let sibling = workspace.member(misfit.to)?;
            let version = sibling.manifest().version()?;
            let (who, whom) = (name(member), name(sibling));
            Some(format!("{who} wants {whom} {}, and the workspace has {version}", misfit.range))
        })
    });
    let misfits: Vec<String> = misfits.take(MISFITS).collect();
    // Others ask the registry on purpose.
    let links_ranges = matches!(workspace.manager(), Manager::Npm | Manager::YarnClassic);
    if !links_ranges || misfits.is_empty() || failure.outcome != Outcome::Failed || failure.killed {
        return failure;
    }
    Failure { error: format!("{}; {}", misfits.join("; "), failure.error), ..failure }
}

/// One run of the manager.
struct Unit {
    folder: PathBuf,
    members: BTreeSet<MemberId>,
}

/// A run that can begin.
struct Ready {
    skeleton: Arc<Skeleton>,
    /// A version that its lock file names, and that nobody has published yet.
    missing: Option<String>,
    /// What is put into the layer afterwards.
    links: Vec<Link>,
}

/// What has to be installed for a member.
fn units(workspace: &Workspace, member: &Member) -> Vec<Unit> {
    let of_root = || Unit { folder: PathBuf::new(), members: BTreeSet::new() };
    match workspace.kind() {
        Kind::Workspaces => {
            let members = workspace.members().iter().map(Member::id).collect();
            vec![Unit { folder: PathBuf::new(), members }]
        }
        Kind::Single => vec![of_root()],
        // Each by its own lock file; the tools are at the root.
        Kind::Lerna => {
            let own = Unit { folder: member.real_folder().to_owned(), members: [member.id()].into() };
            vec![own, of_root()]
        }
    }
}

async fn skeleton(stack: &Stack, unit: &Unit) -> Result<Arc<Skeleton>, Failure> {
    let (state, sources) = (Arc::clone(&stack.state), stack.sources.path().to_owned());
    let (folder, members) = (unit.folder.clone(), unit.members.clone());
    let read = tokio::task::spawn_blocking(move || {
        state.skeleton(&folder, || {
            let workspace = &state.workspace;
            let mut parts = Vec::new();
            if folder.as_os_str().is_empty() {
                parts.push(Part { folder: Path::new(""), manifest: workspace.manifest().fields() });
            }
            let of_unit: Vec<&Member> = members.iter().filter_map(|id| workspace.member(*id)).collect();
            parts.extend(
                of_unit
                    .iter()
                    .filter(|member| !member.real_folder().as_os_str().is_empty())
                    .map(|member| Part { folder: member.real_folder(), manifest: member.manifest().fields() }),
            );
            Skeleton::of(
                &sources,
                workspace.manager(),
                workspace.settings(),
                &folder,
                &parts,
                &links(workspace, &of_unit),
            )
        })
    });
    read.await.map_err(io::Error::other).flatten().map_err(|error| machine(&error))
}

/// Who has a link to whom: a version that a range rejects turns a link into a package of the registry.
fn links(workspace: &Workspace, members: &[&Member]) -> Vec<(String, String)> {
    let shown = |member: &Member| member.folder().display().to_string();
    let of_root = workspace.linked_by_root().iter().map(|id| (String::new(), *id));
    let of_members = members.iter().flat_map(|member| {
        let linked = workspace.linked(member.id());
        linked.into_iter().map(|id| (shown(member), id))
    });
    let all = of_root.chain(of_members);
    let linked = all.filter_map(|(who, id)| Some((who, shown(workspace.member(id)?))));
    let elsewhere = workspace.locked_elsewhere().into_iter();
    linked.chain(elsewhere.map(|(name, version)| (name.to_owned(), version.to_owned()))).collect()
}

fn key(skeleton: &Skeleton, stack: &Stack, means: &Means<'_>) -> Result<Key, Failure> {
    let at = stack.views.place();
    let platform = [std::env::consts::OS, std::env::consts::ARCH].join("-");
    let package_manager = means.package_manager;
    let (version, node) = (package_manager.version().to_string(), package_manager.node().to_string());
    let mut also = vec![package_manager.manager().name(), &version, &node, &platform, &at];
    let env = env::of_phase(&means.phase.env);
    also.extend(env.as_deref());
    Key::of(INSTALLED, [skeleton.digest(&also)]).map_err(|error| Failure::infrastructure(error.to_string()))
}
