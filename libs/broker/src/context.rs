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
    let file = if Path::new(name).is_absolute() && name.ends_with(".json") {
        PathBuf::from(name)
    } else if name.is_empty() || name.contains("..") || name.contains('/') {
        return Err(format!("NATS_CONTEXT `{name}` is no name of a context; `nats context ls` lists them"));
    } else {
        folder.join("context").join(format!("{name}.json"))
    };
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
    /// A field that is set and cannot be obeyed; who one is does not matter where that is said otherwise.
    fn unknown(&self, says_who: bool) -> Option<&'static str> {
        let never = [
            ("socks_proxy", &self.socks_proxy),
            ("jetstream_domain", &self.jetstream_domain),
            ("jetstream_api_prefix", &self.jetstream_api_prefix),
        ];
        let ways = [("nsc", &self.nsc), ("user_jwt", &self.user_jwt), ("user_seed", &self.user_seed)];
        let secrets =
            [("creds", &self.creds), ("nkey", &self.nkey), ("password", &self.password), ("token", &self.token)];
        let is_elsewhere = |text: &str| ["nsc://", "op://", "env://"].iter().any(|scheme| text.starts_with(scheme));
        let unknown =
            never.into_iter().chain(ways.into_iter().filter(|_| !says_who)).find(|(_, value)| !value.is_empty());
        let elsewhere = secrets.into_iter().find(|(_, value)| !says_who && is_elsewhere(value));
        unknown.or(elsewhere).map(|(field, _)| field)
    }

    /// `settings` with what they leave open. A way to say who one is, is taken whole or not at all.
    pub(crate) fn complete(self, settings: Settings) -> Result<Settings, String> {
        let says_who =
            settings.user.is_some() || settings.creds.is_some() || settings.nkey.is_some() || settings.token.is_some();
        if let Some(field) = self.unknown(says_who) {
            return Err(format!(
                "the context `{}` sets `{field}` in a way that Packline does not know; use one with url, and user and \
                 password, token, or the files creds or nkey",
                self.name
            ));
        }
        let who = |text: String| if says_who { None } else { given(text) };
        let own = settings.cert.is_some();
        let (cert, key) = if own { (settings.cert, settings.key) } else { (path(self.cert), path(self.key)) };
        let is_its_user = !says_who || settings.user.as_deref() == Some(self.user.as_str());
        let password = given(self.password).filter(|_| is_its_user).map(SecretString::from);
        let password = settings.password.or(password);
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

/// A path as a person writes it: `~/x`, `$HOME/x`, `file:///x`.
fn path(text: String) -> Option<PathBuf> {
    let text = given(text)?;
    let text = text.strip_prefix("file://").unwrap_or(&text);
    // What is not set stands for nothing, as in a shell.
    let variable = |name: &str| Ok::<_, std::convert::Infallible>(Some(std::env::var(name).unwrap_or_default()));
    let Ok(text) = shellexpand::env_with_context(text, variable);
    Some(match text.strip_prefix("~/") {
        Some(rest) => home().join(rest),
        None => text.as_ref().into(),
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
        let told = Settings { password: Some("other".to_owned().into()), ..Settings::default() };
        let settings = read().complete(told).unwrap();
        assert_eq!((settings.user.unwrap(), settings.password.unwrap().expose_secret()), ("ada".to_owned(), "other"));
    }

    #[test]
    fn a_tilde_is_the_home_folder() {
        assert_eq!(path("~/x.creds".into()), Some(home().join("x.creds")));
        assert_eq!(path("$HOME/x.creds".into()), Some(PathBuf::from(std::env::var("HOME").unwrap()).join("x.creds")));
        assert_eq!(path("file:///x.creds".into()), Some("/x.creds".into()));
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
            ("context/op.json", r#"{"url": "nats://x", "user": "ada", "password": "op://vault/x"}"#),
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
            ("nsc", "sets `nsc` in a way that Packline does not know"),
            ("op", "sets `password` in a way that Packline does not know"),
        ] {
            assert!(refused(name).contains(said), "{name}: {}", refused(name));
        }
    }
}
