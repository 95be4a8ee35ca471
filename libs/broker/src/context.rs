//! Contexts of the `nats` tool: files in `nats/context` below the user's configuration, and the one chosen by
//! `nats context select`. Source: the package natscontext of jsm.go.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::Deserialize;

use crate::Settings;

/// One context, as its file says it. An empty field is one that is not set.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Context {
    #[serde(skip)]
    name: String,
    url: String,
    token: String,
    user: String,
    password: String,
    creds: String,
    nkey: String,
    cert: String,
    key: String,
    ca: String,
    inbox_prefix: String,
    tls_first: bool,
    nsc: String,
    socks_proxy: String,
    user_jwt: String,
    user_seed: String,
    jetstream_domain: String,
    jetstream_api_prefix: String,
}

/// Where contexts are kept: `$XDG_CONFIG_HOME/nats`, else `~/.config/nats`.
pub(crate) fn folder() -> PathBuf {
    let named = std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    named.unwrap_or_else(|| home().join(".config")).join("nats")
}

fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_default()
}

/// The name of the context that was chosen; none where none was.
pub(crate) fn selected(folder: &Path) -> Result<Option<String>, String> {
    let file = folder.join("context.txt");
    match std::fs::read_to_string(&file) {
        Ok(name) => Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("the chosen context cannot be read from `{}`: {error}", file.display())),
    }
}

/// One context.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Context, String> {
    if name.is_empty() || name.contains("..") || name.contains('/') {
        return Err(format!("NATS_CONTEXT `{name}` is no name of a context; `nats context ls` lists them"));
    }
    let file = folder.join("context").join(format!("{name}.json"));
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(format!("there is no context `{name}` (`{}`); `nats context ls` lists them", file.display()));
        }
        Err(error) => return Err(format!("the context `{name}` cannot be read from `{}`: {error}", file.display())),
    };
    let context = serde_json::from_slice(&text)
        .map_err(|error| format!("the context `{name}` is not understood, `{}`: {error}", file.display()))?;
    Ok(Context { name: name.to_owned(), ..context })
}

impl Context {
    /// `settings` with what they leave open. A way to say who one is, is taken whole or not at all.
    pub(crate) fn complete(self, settings: Settings) -> Result<Settings, String> {
        for (field, value) in [
            ("nsc", &self.nsc),
            ("socks_proxy", &self.socks_proxy),
            ("user_jwt", &self.user_jwt),
            ("user_seed", &self.user_seed),
            ("jetstream_domain", &self.jetstream_domain),
            ("jetstream_api_prefix", &self.jetstream_api_prefix),
        ] {
            if !value.is_empty() {
                return Err(format!(
                    "the context `{}` sets `{field}`, which Packline does not know; use one with url, and user, creds, nkey or token",
                    self.name
                ));
            }
        }
        let says_who =
            settings.user.is_some() || settings.creds.is_some() || settings.nkey.is_some() || settings.token.is_some();
        let who = |text: String| if says_who { None } else { given(text) };
        let own = settings.cert.is_some();
        let (cert, key) = if own { (settings.cert, settings.key) } else { (path(self.cert), path(self.key)) };
        let password = if says_who { settings.password } else { given(self.password).map(SecretString::from) };
        Ok(Settings {
            url: settings.url.or_else(|| given(self.url)),
            creds: settings.creds.or_else(|| who(self.creds).and_then(path)),
            nkey: settings.nkey.or_else(|| who(self.nkey).and_then(path)),
            user: settings.user.or_else(|| who(self.user)),
            token: settings.token.or_else(|| who(self.token).map(SecretString::from)),
            password,
            ca: settings.ca.or_else(|| path(self.ca)),
            cert,
            key,
            tls_first: self.tls_first,
            inbox_prefix: given(self.inbox_prefix),
            ..settings
        })
    }
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A path as a person writes it: `~/x` is below the home folder.
fn path(text: String) -> Option<PathBuf> {
    let text = given(text)?;
    Some(match text.strip_prefix("~/") {
        Some(rest) => home().join(rest),
        None => text.into(),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn contexts(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("context")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_context_says_what_nobody_else_says() {
        let folder = contexts(&[(
            "context/prod.json",
            r#"{"description": "x", "url": "tls://prod:4222", "user": "ada", "password": "secret", "ca": "/ca.pem",
                "creds": "", "tls_first": true, "inbox_prefix": "_INBOX_ada", "color_scheme": "blue"}"#,
        )]);
        let read = || read(folder.path(), "prod").unwrap();
        let settings = read().complete(Settings { replicas: 3, ..Settings::default() }).unwrap();
        assert_eq!((settings.url(), settings.user.as_deref()), ("tls://prod:4222", Some("ada")));
        assert_eq!(settings.password.unwrap().expose_secret(), "secret");
        assert_eq!((settings.ca, settings.replicas), (Some("/ca.pem".into()), 3));
        assert_eq!((settings.creds, settings.tls_first), (None, true));
        let told = Settings { creds: Some("me.creds".into()), ..Settings::at("nats://other:4222") };
        let settings = read().complete(told).unwrap();
        assert_eq!((settings.url(), settings.creds.clone()), ("nats://other:4222", Some("me.creds".into())));
        assert!(settings.user.is_none() && settings.password.is_none(), "one way to say who one is");
    }

    #[test]
    fn a_tilde_is_the_home_folder() {
        assert_eq!(path("~/x.creds".into()), Some(home().join("x.creds")));
        assert_eq!(path("/x".into()), Some("/x".into()));
        assert_eq!(path(String::new()), None);
    }

    #[test]
    fn the_chosen_one_is_read_as_the_tool_wrote_it() {
        let folder = contexts(&[("context.txt", "prod\n")]);
        assert_eq!(selected(folder.path()), Ok(Some("prod".into())));
        assert_eq!(selected(&folder.path().join("nothing")), Ok(None));
    }

    #[test]
    fn what_cannot_be_used_is_said_with_what_would_do() {
        let folder = contexts(&[
            ("context/cut.json", r#"{"url": "#),
            ("context/nsc.json", r#"{"url": "nats://x", "nsc": "nsc://o/a/u"}"#),
        ]);
        let refused = |name: &str| match read(folder.path(), name) {
            Ok(context) => context.complete(Settings::default()).unwrap_err(),
            Err(error) => error,
        };
        for (name, said) in [
            ("nobody", "there is no context `nobody`"),
            ("../nsc", "no name of a context"),
            ("", "no name of a context"),
            ("cut", "is not understood"),
            ("nsc", "sets `nsc`, which Packline does not know"),
        ] {
            assert!(refused(name).contains(said), "{name}: {}", refused(name));
        }
    }
}
