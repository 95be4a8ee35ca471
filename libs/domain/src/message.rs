//! The messages of the four main subjects: `packages.new`, `packages.status`, `builds.start`, `builds.result`.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    BuildId, MAX_PAYLOAD, Outcome, Package, PackageName, PackagePath, Timestamp,
    package::{kind, whole},
    schema,
};

pub use crate::phase::{PhaseReport, PhaseStatus, Tests};

/// Input that was not understood: the bytes as they came and one line that says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// What was refused; of a batch, the item alone.
    pub payload: Vec<u8>,
    /// What was wrong, and what would be right.
    pub reason: String,
    /// Position in the batch.
    pub index: usize,
}

impl Refused {
    fn whole(payload: &[u8], reason: impl Into<String>) -> Self {
        Self { payload: payload.to_vec(), reason: reason.into(), index: 0 }
    }
}

/// The JSON object in a payload, or why there is none.
///
/// # Errors
/// When the payload is too large, not JSON, or not of the shape of `T`.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Refused> {
    if payload.len() > MAX_PAYLOAD {
        return Err(Refused::whole(payload, too_large(payload.len())));
    }
    serde_json::from_slice(payload).map_err(|error| Refused::whole(payload, error.to_string()))
}

/// The largest package, in bytes of JSON: its order must fit into a message with room for what orders add.
const MAX_PACKAGE: usize = 128 * 1024;

fn large_package(bytes: usize) -> String {
    format!("{bytes} bytes; a package has at most {MAX_PACKAGE}")
}

fn too_large(bytes: usize) -> String {
    format!("{bytes} bytes; a message has at most {MAX_PAYLOAD}")
}

/// What one message on `packages.new` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Announcement {
    /// The packages that were understood, in order.
    pub packages: Vec<Package>,
    /// The commit whose outcomes the catalogue knew; `None` when announced by hand.
    pub reported_through: Option<u64>,
    /// The items that were not.
    pub refused: Vec<Refused>,
}

impl Announcement {
    /// Reads one package, an array of packages, or a poll's object, as npm reads JSON. What is not understood is
    /// returned in `refused`: the item alone where there is one, else the whole.
    pub fn parse(payload: &[u8]) -> Self {
        let refuse = |reason: String| Self { refused: vec![Refused::whole(payload, reason)], ..Self::default() };
        if payload.len() > MAX_PAYLOAD {
            return refuse(too_large(payload.len()));
        }
        let value = match packline_json::parse(payload) {
            Ok(value) => value,
            Err(error) => return refuse(format!("not JSON: {error}")),
        };
        let mut reported_through = None;
        let items = match value {
            Value::Array(items) => items,
            Value::Object(mut fields) if fields.contains_key("packages") => {
                match fields.get("reportedThrough") {
                    None | Some(Value::Null) => {}
                    Some(number) => match whole(number).and_then(|n| u64::try_from(n).ok()) {
                        Some(commit) => reported_through = Some(commit),
                        None => return refuse("`reportedThrough` is the number of a commit".into()),
                    },
                }
                match fields.remove("packages") {
                    Some(Value::Array(items)) => items,
                    other => {
                        let found = other.as_ref().map_or("nothing", kind);
                        return refuse(format!("`packages` is an array, not {found}"));
                    }
                }
            }
            one @ Value::Object(_) => vec![one],
            other => return refuse(format!("an announcement is an object or an array, not {}", kind(&other))),
        };
        let mut announcement = Self { reported_through, ..Self::default() };
        for (index, item) in items.iter().enumerate() {
            let payload = serde_json::to_vec(item).unwrap_or_default();
            let small = if payload.len() > MAX_PACKAGE { Err(large_package(payload.len())) } else { Ok(()) };
            match small.and_then(|()| Package::parse(item)) {
                Ok(package) => announcement.packages.push(package),
                Err(reason) => announcement.refused.push(Refused { payload, reason, index }),
            }
        }
        announcement
    }
}

/// A poll's announcement as the poller writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollAnnouncement {
    /// Version of the wire.
    #[serde(default = "schema")]
    pub schema: u32,
    /// When the catalogue was asked.
    pub polled_at: Timestamp,
    /// The last commit whose outcomes were all on `packages.status` before the catalogue was asked.
    pub reported_through: u64,
    /// What it answered.
    pub packages: Vec<Package>,
}

/// One order to build, on `builds.start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildOrder {
    /// Version of the wire.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Which build.
    pub build_id: BuildId,
    /// 1 plus the package's own failures since it was last queued afresh.
    pub attempt: u32,
    /// The number of the permit: the key `permits.<n>`.
    pub permit: u32,
    /// The revision of that key at which the order may be taken.
    pub permit_revision: u64,
    /// When the permit was granted.
    pub granted_at: Timestamp,
    /// What to build.
    pub package_name: PackageName,
    /// Its folder, relative to the workspace root.
    pub package_path: PackagePath,
    /// Its plan, relative to the workspace root; need not exist.
    pub plan_path: String,
    /// Chooses the recipe.
    pub category: String,
    /// As announced.
    pub dependencies: Vec<PackageName>,
    /// As announced.
    pub priority: i64,
    /// What the orchestrator configures.
    #[serde(default)]
    pub config: OrderConfig,
    /// Integrities that earlier attempts may have published.
    #[serde(default)]
    pub integrities: Vec<String>,
    /// How long the build may take, from its taking.
    pub deadline_seconds: u64,
    /// Unknown fields of the package, passed on.
    #[serde(default, flatten)]
    pub extra: Map<String, Value>,
}

impl BuildOrder {
    /// The order for one permit of `package`; the revision of the permit is filled in when it is known.
    ///
    /// Fields of the package's own that have the name of a field of the order are left out.
    #[expect(clippy::too_many_arguments, reason = "each is another word of the order")]
    pub fn new(
        package: &Package,
        build_id: BuildId,
        attempt: u32,
        permit: u32,
        granted_at: Timestamp,
        config: OrderConfig,
        integrities: Vec<String>,
        deadline: Duration,
    ) -> Self {
        const OWN: [&str; 15] = [
            "schema",
            "buildId",
            "attempt",
            "permit",
            "permitRevision",
            "grantedAt",
            "packageName",
            "packagePath",
            "planPath",
            "category",
            "dependencies",
            "priority",
            "config",
            "integrities",
            "deadlineSeconds",
        ];
        let mut extra = package.extra.clone();
        extra.retain(|name, _| !OWN.contains(&name.as_str()));
        Self {
            schema: schema(),
            build_id,
            attempt,
            permit,
            permit_revision: 0,
            granted_at,
            package_name: package.name.clone(),
            package_path: package.folder(),
            plan_path: format!("plans/{}.md", package.name.unscoped()),
            category: package.category.clone(),
            dependencies: package.dependencies.clone(),
            priority: package.priority,
            config,
            integrities,
            deadline_seconds: deadline.as_secs().max(1),
            extra,
        }
    }
}

/// What the orchestrator configures for a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderConfig {
    /// Where to publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
}

/// How a build ended, on `builds.result`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildResult {
    /// Version of the wire.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Which build.
    pub build_id: BuildId,
    /// As ordered.
    pub attempt: u32,
    /// As ordered.
    pub permit: u32,
    /// The revision of the worker's last write to its permit.
    pub permit_revision: u64,
    /// As ordered.
    pub package_name: PackageName,
    /// Whether it was published.
    pub success: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong; at most 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In which phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_phase: Option<String>,
    /// How often a fix was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix_attempts: Option<u32>,
    /// False: will fail every time.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub retry: bool,
    /// Who built it.
    pub worker: String,
    /// When it was taken.
    pub started_at: Timestamp,
    /// When its last process was gone.
    pub finished_at: Timestamp,
    /// Its phases, in order.
    #[serde(default)]
    pub phases: Vec<PhaseReport>,
    /// The version that was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The tarball's integrity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<String>,
    /// What somebody should look at although it fails nothing, as [`cut_warnings`](crate::warning::cut_warnings) leaves it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// It ended as [`Outcome::Published`], and its package is private: it was built, and nothing was published.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// What stands for the tests of its package, where that has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// The longest `error` of a result, in bytes.
pub const MAX_ERROR: usize = 4096;

/// `text` cut to at most [`MAX_ERROR`] bytes at a character.
pub fn cut_error(mut text: String) -> String {
    if text.len() > MAX_ERROR {
        let mut end = MAX_ERROR - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Where a package stands, for the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StatusKind {
    /// A build was started.
    Building,
    /// The registry has it.
    Published,
    /// It will not be tried again.
    Failed,
    /// An operator dropped it.
    Cancelled,
    /// It was building and waits again.
    Queued,
}

/// One change of a package, on `packages.status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageStatus {
    /// Version of the wire.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Which package.
    pub package_name: PackageName,
    /// The catalogue's own identity of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is now.
    pub status: StatusKind,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In which phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_phase: Option<String>,
    /// How many attempts were made since it was last queued afresh.
    pub attempts: u32,
    /// The build that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<BuildId>,
    /// The version that this build found in the package, where it came so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// [`StatusKind::Published`] of a private package: it was built, and the registry does not have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// What stands for its tests, where it is [`StatusKind::Published`] and has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
    /// The commit that decided it; a lower one never overwrites a higher.
    pub commit: u64,
}
