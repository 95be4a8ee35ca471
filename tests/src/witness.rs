//! A witness outside the system: what the kernel says is running.

use std::{collections::BTreeMap, fs, os::unix::ffi::OsStrExt, path::Path};

/// The processes of each build that has some.
pub type Alive = BTreeMap<String, Vec<u32>>;

/// The ids of all processes of this machine that belong to the build, by their environment.
pub fn processes_of(build: &str) -> Vec<u32> {
    let wanted = format!("BUILD_ID={build}");
    processes().filter(|pid| parts(*pid, "environ").any(|variable| variable == wanted.as_bytes())).collect()
}

/// The builds of a workshop that have processes: those with `SHOP` in their environment, and those without
/// one whose last argument is a build and another lies in the folder.
pub(crate) fn alive(shop: &Path) -> Alive {
    let (shop, variable) = (shop.as_os_str().as_bytes(), [b"SHOP=", shop.as_os_str().as_bytes()].concat());
    let mut alive = Alive::new();
    for pid in processes() {
        let environment: Vec<_> = parts(pid, "environ").collect();
        let build = if environment.contains(&variable) {
            environment.iter().find_map(|text| text.strip_prefix(b"BUILD_ID=").map(<[u8]>::to_vec))
        } else {
            let arguments: Vec<_> = parts(pid, "cmdline").collect();
            let of_ours = environment.is_empty() && arguments.iter().any(|argument| argument.starts_with(shop));
            arguments.last().filter(|_| of_ours).cloned()
        };
        if let Some(build) = build {
            alive.entry(String::from_utf8_lossy(&build).into_owned()).or_default().push(pid);
        }
    }
    alive
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parts(pid: u32, of: &str) -> impl Iterator<Item = Vec<u8>> {
    let text = fs::read(format!("/proc/{pid}/{of}")).unwrap_or_default();
    text.split(|byte| *byte == 0).filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter()
}
