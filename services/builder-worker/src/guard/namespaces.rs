//! The namespaces of a phase, and the capabilities that an ordinary user has in them for as long as it takes to mount.

use std::{fs, io};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::plan::{Namespaces, Refusal};

/// What `init` needs to mount, and `exec` to drop all of it. The overlay does its own work with those of its mounter.
const OF_INIT: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FSETID)
    .union(OF_EXEC);
const OF_EXEC: CapabilitySet = CapabilitySet::SETPCAP;

/// Opens what the next process that is started is to be in, the mount namespace left aside. Returns what came of it:
/// [`Namespaces::Shared`] and the reason where the machine allows none.
///
/// # Errors
/// When it came half way: this process is of no use any more.
pub(super) fn enter(wanted: Namespaces) -> Result<(Namespaces, Option<io::Error>), Refusal> {
    let flags = match wanted {
        Namespaces::Shared => return Ok((wanted, None)),
        Namespaces::Root => CloneFlags::CLONE_NEWPID,
        Namespaces::User => CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID,
    };
    let (uid, gid) = (geteuid(), getegid());
    if let Err(error) = unshare(flags) {
        return Ok((Namespaces::Shared, Some(error.into())));
    }
    if wanted == Namespaces::User {
        let map = |file: &str, text: String| {
            fs::write(file, text).map_err(|error| no_namespaces(&format!("failed to write {file}: {error}")))
        };
        map("/proc/self/setgroups", "deny".into())?;
        map("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        map("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
        keep(OF_INIT).map_err(|error| no_namespaces(&format!("failed to keep capabilities: {error}")))?;
    }
    Ok((wanted, None))
}

/// The refusal of a machine that does not allow what a namespace is for.
pub(super) fn no_namespaces(error: &str) -> Refusal {
    Refusal::NoNamespaces { error: format!("this machine allows no namespaces: {error}") }
}

/// From now on this process, and those that it starts, have these capabilities and no others. They must be among
/// those that it has.
fn keep(kept: CapabilitySet) -> io::Result<()> {
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: kept })?;
    for capability in kept.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Leaves `init` what `exec` needs.
pub(super) fn done_with_mounts() -> io::Result<()> {
    keep(OF_EXEC)
}

/// No capability is left, and none comes back, whatever is executed.
pub(super) fn drop_all() -> io::Result<()> {
    for bit in 0..u64::BITS {
        // The kernel refuses the first one that it does not know.
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(set_no_new_privs(true)?)
}
