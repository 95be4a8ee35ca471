//! The built-in recipe for npm packages: its phases, its flags, and the decisions of `publish`.

use std::path::{Path, PathBuf};

use semver::Version;
use serde_json::{Map, Value};

use packline_recipe::{Limits, Phase, Step, When};

/// What all npm commands of one build are told.
#[derive(Clone, Debug)]
pub struct Npm {
    /// Where to install from and publish to, without a slash at the end.
    pub registry: String,
    /// `@scope` of the package, where it has one.
    pub scope: Option<String>,
    /// A configuration file that is not the user's own.
    pub userconfig: PathBuf,
    /// Kept from build to build.
    pub cache: PathBuf,
}

impl Npm {
    /// An npm command. Nothing of the user's or the project's own settings reaches it, and retrying is left
    /// to the orchestrator: npm itself would hold a slot for minutes.
    pub fn command(&self, arguments: &[&str]) -> Vec<String> {
        let mut command: Vec<String> = ["npm"].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        command.push(format!("--registry={}/", self.registry));
        if let Some(scope) = &self.scope {
            command.push(format!("--{scope}:registry={}/", self.registry));
        }
        command.push(format!("--userconfig={}", self.userconfig.display()));
        command.push(format!("--cache={}", self.cache.display()));
        let flags = [
            "--workspaces=false",
            "--no-update-notifier",
            "--no-audit",
            "--no-fund",
            "--fetch-retries=0",
            "--loglevel=warn",
        ];
        command.extend(flags.map(str::to_owned));
        command
    }

    /// The same as a file of settings, for the npm of a recipe's commands and of scripts.
    pub fn settings(&self) -> String {
        let registry = &self.registry;
        let of_scope = self.scope.as_ref().map(|scope| format!("{scope}:registry={registry}/\n")).unwrap_or_default();
        // In quotes npm reads it as JSON.
        let cache = serde_json::Value::from(self.cache.display().to_string());
        format!(
            "registry={registry}/\n{of_scope}cache={cache}\nworkspaces=false\nupdate-notifier=false\naudit=false\n\
             fund=false\nfetch-retries=0\nloglevel=warn\n"
        )
    }

    /// The same with `npmrc` and cache in this folder: what builds left in theirs is not believed.
    #[must_use]
    pub fn apart(&self, folder: &Path) -> Self {
        Self { userconfig: folder.join("npmrc"), cache: folder.join("cache"), ..self.clone() }
    }

    /// install, build, lint, test, publish.
    pub fn phases(&self) -> Vec<Phase> {
        let script = |name: &str| Phase {
            when: Some(When::Script(name.to_owned())),
            ..phase(name, Step::Run(self.command(&["run", name])))
        };
        vec![
            phase("install", Step::Run(self.command(&["install"]))),
            script("build"),
            script("lint"),
            script("test"),
            phase("publish", Step::NpmPublish),
        ]
    }
}

fn phase(name: &str, step: Step) -> Phase {
    let (name, env) = (name.to_owned(), std::collections::BTreeMap::new());
    Phase { name, step, when: None, limits: Limits::default(), fix: None, env }
}

/// Whether what a command prints about npm is npm's word, and not that of a script of the package.
pub fn is_npm_itself(argv: &[String]) -> bool {
    const ITSELF: [&str; 6] = ["install", "i", "ci", "pack", "publish", "view"];
    matches!(argv, [npm, subcommand, ..] if npm == "npm" && ITSELF.contains(&subcommand.as_str()))
}

/// npm's own settings with a token for one registry. npm wants some token even where none is needed.
pub fn npmrc(registry: &str, token: Option<&str>) -> String {
    // A line break or `${` in a token would be read as something else.
    let token: String = token.unwrap_or("none").chars().filter(|c| c.is_ascii_graphic() && *c != '$').collect();
    auth(registry, &token)
}

/// The line of npm's settings that has the token for one registry; as npm reads it, `${NAME}` is a variable.
pub fn auth(registry: &str, token: &str) -> String {
    let place = registry.split_once(':').map_or(registry, |(_, place)| place);
    format!("{place}/:_authToken={token}\n")
}

/// Checks `publishConfig`: npm takes every key of it for a setting, and some of them lead elsewhere.
///
/// # Errors
/// One line that says which key is not allowed, or which registry is not the one in force.
pub fn check_publish_config(publish_config: &Map<String, Value>, registry: &str) -> Result<(), String> {
    const ALLOWED: [&str; 5] = ["access", "tag", "provenance", "directory", "linkDirectory"];
    check_registries(publish_config, registry)?;
    match publish_config.keys().find(|key| !names_registry(key) && !ALLOWED.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(format!(
            "publishConfig sets `{}`; only {} and the worker's own registry may stand there",
            plain(key),
            ALLOWED.join(", ")
        )),
    }
}

/// Checks the registries of `publishConfig` alone: what else stands there, a recipe's own command may know.
///
/// # Errors
/// One line that says which registry is not the one in force.
pub fn check_registries(publish_config: &Map<String, Value>, registry: &str) -> Result<(), String> {
    let same = |url: &str| url.trim_end_matches('/').eq_ignore_ascii_case(registry.trim_end_matches('/'));
    match publish_config.iter().find(|(key, value)| names_registry(key) && !value.as_str().is_some_and(same)) {
        None => Ok(()),
        Some((_, value)) => Err(format!(
            "publishConfig names another registry, {}; remove it, the registry is the worker's to choose",
            plain(value.as_str().unwrap_or("which is no text"))
        )),
    }
}

fn names_registry(key: &str) -> bool {
    key == "registry" || (key.starts_with('@') && key.ends_with(":registry"))
}

fn plain(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

/// Whether a version is at the registry, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not there.
    Absent,
    /// It is there, published by this or an earlier attempt of ours.
    Ours(String),
    /// It is there, and somebody else's.
    Foreign(String),
}

/// Whose the version is that the registry has.
pub fn standing(found: Option<String>, packed: &str, earlier: &[String]) -> Standing {
    match found {
        None => Standing::Absent,
        Some(found) if found == packed || earlier.contains(&found) => Standing::Ours(found),
        Some(found) => Standing::Foreign(found),
    }
}

/// What the registry knows of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Its versions, in no order.
    pub versions: Vec<Version>,
}

impl Published {
    /// Whether this version is among them; what follows `+` makes no other version for npm.
    pub fn has(&self, version: &Version) -> bool {
        self.versions.iter().any(|there| there.cmp_precedence(version).is_eq())
    }
}

/// The tag that npm wants to be told, where `latest` would be refused or wrong: for a prerelease its own
/// kind, for a version below one that is there `previous`. `configured` is that of `publishConfig`.
pub fn tag(version: &Version, published: &Published, configured: Option<&str>) -> Option<String> {
    if let Some(configured) = configured.filter(|tag| is_tag(tag)) {
        return Some(configured.to_owned());
    }
    if !version.pre.is_empty() {
        let kind = version.pre.split('.').next().unwrap_or_default();
        return Some(if is_tag(kind) { kind.to_owned() } else { "next".to_owned() });
    }
    let highest = published.versions.iter().filter(|version| version.pre.is_empty()).max();
    highest.filter(|highest| version < highest).map(|_| "previous".to_owned())
}

/// A tag is a word; what reads as a version or a range is none for npm.
fn is_tag(text: &str) -> bool {
    let reads_as_range = text.trim_start_matches(['v', 'x', 'X']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    !text.is_empty()
        && !reads_as_range
        && !matches!(text, "x" | "X" | "v" | "latest")
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// The integrity that `npm view NAME@VERSION dist.integrity --json` printed, among whatever else was printed.
pub fn viewed_integrity(printed: &str) -> Option<String> {
    printed
        .lines()
        .filter_map(|line| serde_json::from_str::<String>(line.trim()).ok())
        .find(|text| text.starts_with("sha"))
}

/// The versions that `npm view NAME versions --json` printed: an array, or the only one.
pub fn viewed_versions(printed: &str) -> Published {
    let value = printed.lines().enumerate().find_map(|(index, line)| {
        let starts = line.starts_with(['[', '"']);
        let rest: String = printed.lines().skip(index).collect::<Vec<_>>().join("\n");
        starts.then(|| serde_json::Deserializer::from_str(&rest).into_iter::<Value>().next()?.ok()).flatten()
    });
    let texts = match value {
        Some(Value::Array(items)) => items,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let versions = texts.iter().filter_map(|text| Version::parse(text.as_str()?).ok()).collect();
    Published { versions }
}

/// The code in a line `npm error code E404` (npm 10 and later) or `npm ERR! code E404`.
pub fn error_code(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("npm error code ").or_else(|| line.strip_prefix("npm ERR! code "))?;
    let code = rest.trim();
    (!code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(code)
}

/// Whether npm failed because of the network, the registry or this machine, not because of the package.
pub fn is_infrastructure(code: &str) -> bool {
    const MACHINE: [&str; 25] = [
        "ECONNREFUSED",
        "ECONNRESET",
        "ECONNABORTED",
        "ENOTFOUND",
        "ETIMEDOUT",
        "ESOCKETTIMEDOUT",
        "EAI_AGAIN",
        "EAI_FAIL",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "EHOSTDOWN",
        "ENETDOWN",
        "EPIPE",
        "EPROTO",
        "ENOSPC",
        "EDQUOT",
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "EROFS",
        "EIO",
        "E429",
        "E401",
        "ENEEDAUTH",
        "ERR_SOCKET_TIMEOUT",
    ];
    let server_error =
        code.strip_prefix("E5").is_some_and(|rest| rest.len() == 2 && rest.bytes().all(|b| b.is_ascii_digit()));
    server_error || MACHINE.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn npm() -> Npm {
        Npm {
            registry: "http://127.0.0.1:4873".into(),
            scope: Some("@acme".into()),
            userconfig: "/s/npmrc".into(),
            cache: "/s/cache".into(),
        }
    }

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn every_command_names_the_registry_for_the_scope_too() {
        let command = npm().command(&["install"]);
        assert_eq!(command[..2], ["npm", "install"]);
        for flag in
            ["--registry=http://127.0.0.1:4873/", "--@acme:registry=http://127.0.0.1:4873/", "--workspaces=false"]
        {
            assert!(command.iter().any(|argument| argument == flag), "{flag}");
        }
    }

    #[test]
    fn scripts_are_run_only_where_they_are_there() {
        let phases = npm().phases();
        let named: Vec<_> = phases.iter().map(|phase| (phase.name.as_str(), phase.when.is_some())).collect();
        assert_eq!(named, [("install", false), ("build", true), ("lint", true), ("test", true), ("publish", false)]);
    }

    #[test]
    fn a_token_stays_one_line_for_one_registry() {
        assert_eq!(npmrc("https://npm.example.com/a", Some("s3cret")), "//npm.example.com/a/:_authToken=s3cret\n");
        assert_eq!(npmrc("http://h:1", Some("x\nregistry=http://evil")), "//h:1/:_authToken=xregistry=http://evil\n");
        assert_eq!(npmrc("http://h:1", None), "//h:1/:_authToken=none\n");
    }

    #[test]
    fn another_registry_in_publish_config_is_found() {
        let check = |config: Value| check_publish_config(config.as_object().unwrap(), "http://127.0.0.1:4873");
        for allowed in [
            json!({}),
            json!({"registry": "http://127.0.0.1:4873/", "access": "public", "tag": "next", "provenance": false}),
            json!({"@acme:registry": "http://127.0.0.1:4873"}),
        ] {
            assert_eq!(check(allowed), Ok(()));
        }
        for key in ["registry", "@acme:registry"] {
            let refusal = check(json!({ key: "https://other.example" })).unwrap_err();
            assert!(refusal.contains("another registry, https://other.example"), "{refusal}");
        }
        assert!(check(json!({"registry": 7})).is_err());
        for redirects in
            ["proxy", "https-proxy", "strict-ssl", "//127.0.0.1:4873/:_authToken", "userconfig", "x:registry"]
        {
            let refusal = check(json!({ redirects: "http://other.example" })).unwrap_err();
            assert!(refusal.contains(redirects), "{refusal}");
        }
    }

    #[test]
    fn a_version_that_is_there_is_ours_by_its_integrity_alone() {
        let earlier = ["sha512-old".to_owned()];
        assert_eq!(standing(None, "sha512-new", &earlier), Standing::Absent);
        assert_eq!(standing(Some("sha512-new".into()), "sha512-new", &earlier), Standing::Ours("sha512-new".into()));
        assert_eq!(standing(Some("sha512-old".into()), "sha512-new", &earlier), Standing::Ours("sha512-old".into()));
        assert_eq!(standing(Some("sha512-x".into()), "sha512-new", &earlier), Standing::Foreign("sha512-x".into()));
    }

    #[test]
    fn a_tag_is_named_where_latest_would_be_wrong() {
        let there = Published { versions: vec![version("1.0.0"), version("2.0.0"), version("3.0.0-rc.1")] };
        assert_eq!(tag(&version("1.0.0"), &Published::default(), None), None);
        assert_eq!(tag(&version("2.1.0"), &there, None), None);
        assert_eq!(tag(&version("1.5.0"), &there, None), Some("previous".into()));
        assert_eq!(tag(&version("3.0.0-beta.2"), &there, None), Some("beta".into()));
        assert_eq!(tag(&version("3.0.0-0"), &there, None), Some("next".into()));
        assert_eq!(tag(&version("3.0.0-x"), &there, None), Some("next".into()));
        assert_eq!(tag(&version("2.1.0"), &there, Some("canary")), Some("canary".into()));
        assert_eq!(tag(&version("2.1.0"), &there, Some("--registry=x")), None);
        assert_eq!(tag(&version("2.1.0"), &there, Some("1.x")), None);
    }

    #[test]
    fn answers_of_view_are_found_among_warnings() {
        assert_eq!(viewed_integrity("npm warn old\n\"sha512-abc==\"\n"), Some("sha512-abc==".into()));
        assert_eq!(viewed_integrity("{\n  \"error\": {\n    \"code\": \"E404\"\n  }\n}"), None);
        let printed = "npm warn [x]\n[\n  \"1.0.0\",\n  \"2.0.0\"\n]\n";
        assert_eq!(viewed_versions(printed).versions, [version("1.0.0"), version("2.0.0")]);
        assert_eq!(viewed_versions("\"1.0.0\"\n").versions, [version("1.0.0")]);
        assert_eq!(viewed_versions("npm error code E404\n").versions, []);
    }

    #[test]
    fn codes_tell_the_machine_from_the_package() {
        for code in ["ECONNREFUSED", "ENOTFOUND", "ETIMEDOUT", "EAI_AGAIN", "ECONNRESET", "E500", "E503", "ENOSPC"] {
            assert!(is_infrastructure(code), "{code}");
        }
        for code in ["E404", "ETARGET", "ERESOLVE", "E403", "E5", "E5XX", "1", "ELIFECYCLE"] {
            assert!(!is_infrastructure(code), "{code}");
        }
        assert_eq!(error_code("npm error code E404"), Some("E404"));
        assert_eq!(error_code("npm ERR! code ECONNREFUSED"), Some("ECONNREFUSED"));
        assert_eq!(error_code("npm error 404 Not Found"), None);
    }
}
