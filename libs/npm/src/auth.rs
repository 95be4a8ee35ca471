//! From the settings, what opens one registry.

use std::path::Path;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use url::{Position, Url};

use crate::{
    access::{Access, Authorization, Identity, UNSET},
    expand::unset,
    ini::Value,
    proxies::Proxies,
    settings::{Read, Settings, Unreadable, read_file},
};

/// As Node reads it: with or without `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Settings without a registry in front, which opened every registry once and open none now.
const WITHOUT_REGISTRY: [&str; 4] = ["_authToken", "_auth", "_password", "username"];

impl Settings {
    /// What npm would use for requests to this registry. What is set for another registry is not in it.
    ///
    /// # Errors
    /// A file that a setting names, that is there, and that cannot be read.
    pub fn access(&self, registry: &str) -> Result<Access, Unreadable> {
        self.access_by(registry, &read_file)
    }

    pub(crate) fn access_by(&self, registry: &str, read: Read<'_>) -> Result<Access, Unreadable> {
        let mut access = Access::open(registry);
        let key = Url::parse(&format!("{}/", access.registry)).ok().and_then(|url| self.opening(&url));
        let of = |what: &str| key.as_ref().and_then(|key| self.text(&format!("{key}:{what}")));
        if let Some(authorization) = self.authorization(of) {
            access.authorization = Some(authorization);
        }
        let file = |what: &str, path: &str| match read(Path::new(path)) {
            Ok(text) => Ok(text),
            Err(error) => Err(Unreadable { what: what.to_owned(), path: path.into(), why: error.to_string() }),
        };
        let mut hints = self.hints(of);
        // As npm does: a file that is not there is as if it were not named.
        let mut named = |what: &str, path: String| {
            let path = self.environment.path(&path).display().to_string();
            let text = file(what, &path)?.filter(|text| !text.trim().is_empty());
            if text.is_none() {
                hints.push(format!("{what} {path} is not there"));
            }
            Ok(text)
        };
        let (mut certificate, mut private) = (None, None);
        if let (Some(certfile), Some(keyfile)) = (of("certfile"), of("keyfile")) {
            let pair = (named("the certfile", certfile)?, named("the keyfile", keyfile)?);
            if let (Some(text), Some(key)) = pair {
                (certificate, private) = (Some(text), Some(key));
            }
        }
        let certificate = certificate.or_else(|| self.text("cert").map(lines));
        let private = private.or_else(|| self.text("key").map(lines));
        access.identity = certificate.zip(private).map(|(certificate, key)| Identity { certificate, key });
        for (key, value) in self.rising() {
            match (key.as_str(), value) {
                ("ca", Value::List(items)) => access.roots = Some(items.iter().cloned().map(lines).collect()),
                ("ca", value) => access.roots = value.text().map(|text| vec![lines(text)]),
                ("cafile", Value::Text(path)) if !path.is_empty() => {
                    if let Some(text) = named("the cafile", path.clone())? {
                        access.roots = Some(vec![text]);
                    }
                }
                _ => {}
            }
        }
        if let Some(path) = self.environment.variable("NODE_EXTRA_CA_CERTS").filter(|path| !path.is_empty()) {
            access.extra_roots = named("the file of NODE_EXTRA_CA_CERTS,", path.to_owned())?;
        }
        access.strict_ssl = self.is_strict();
        access.proxies = Proxies::of(self);
        access.hints = hints;
        Ok(access)
    }

    /// What must not be seen in logs: all that opens any registry or proxy, in each form in which it may be printed.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = Proxies::of(self).secrets();
        for (key, value) in self.rising() {
            let Some(text) = value.text() else { continue };
            let (place, what) = key.rsplit_once(':').unwrap_or(("", key));
            let authorization = match what {
                "_authToken" => Some(Authorization::Bearer(text)),
                "_auth" => Some(Authorization::Basic(text)),
                "_password" => {
                    let user = if place.is_empty() { "username".to_owned() } else { format!("{place}:username") };
                    secrets.push(text.clone());
                    Some(Authorization::of_password(&self.text(&user).unwrap_or_default(), &text))
                }
                "registry" => Access::open(&text).authorization,
                _ => None,
            };
            secrets.extend(authorization.iter().flat_map(Authorization::secrets));
        }
        secrets.retain(|secret| !secret.is_empty());
        secrets
    }

    /// The place that has something for this address: npm looks from its path upwards, with and without a slash.
    fn opening(&self, url: &Url) -> Option<String> {
        let address = &url[Position::BeforeHost..Position::AfterPath];
        let mut key = format!("//{address}");
        while key.len() > 2 {
            let has = |what: &str| self.text(&format!("{key}:{what}")).is_some();
            let is_pair = |one: &str, other: &str| has(one) && has(other);
            if has("_authToken") || has("_auth") || is_pair("username", "_password") || is_pair("certfile", "keyfile") {
                return Some(key);
            }
            let shorter = key.strip_suffix('/').map_or_else(|| key.rfind('/').map_or(0, |at| at + 1), str::len);
            key.truncate(shorter);
        }
        None
    }

    fn authorization(&self, of: impl Fn(&str) -> Option<String>) -> Option<Authorization> {
        if let Some(token) = of("_authToken") {
            return Some(Authorization::Bearer(token));
        }
        if let Some(both) = of("_auth") {
            return Some(Authorization::Basic(both));
        }
        let (user, password) = of("username").zip(of("_password"))?;
        Some(Authorization::of_password(&user, &password))
    }

    /// What a person would want to know when the registry refuses.
    fn hints(&self, of: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let mut hints = Vec::new();
        let set = ["_authToken", "_auth", "_password"].into_iter().find_map(of);
        if let Some(name) = set.as_deref().and_then(unset) {
            hints.push(format!("{UNSET} {name} in npm's settings is not set", name = name.escape_debug()));
        }
        if set.is_none()
            && let Some(key) = WITHOUT_REGISTRY.iter().find(|key| self.value(key).is_some())
        {
            hints.push(format!("`{key}` without a registry in front is sent to none, as by npm"));
        }
        hints
    }

    fn is_strict(&self) -> bool {
        match self.value("strict-ssl") {
            Some(Value::Flag(flag)) => *flag,
            // As npm reads numbers for yes and no.
            Some(Value::Text(text)) => text.parse::<f64>() != Ok(0.0),
            _ => true,
        }
    }
}

impl Authorization {
    /// Of a password as it stands in a setting, in base64.
    fn of_password(user: &str, password: &str) -> Self {
        let password = BASE64.decode(password.trim()).unwrap_or_default();
        Self::of_login(user, &String::from_utf8_lossy(&password))
    }
}

/// PEM as it stands in a setting, where `\n` may be written for the end of a line.
fn lines(text: String) -> String {
    text.replace("\\n", "\n")
}

#[cfg(test)]
mod tests;
