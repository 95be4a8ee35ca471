//! What a request to a registry asks for, by its path.

use axum::http::Uri;
use percent_encoding::percent_decode_str;

/// What a GET asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All of a package.
    Package(String),
    /// One version of a package, or what a tag names.
    Version(String, String),
    /// The tags of a package.
    Tags(String),
    /// A file of a package.
    Tarball(String, String),
}

impl Target {
    /// `None` where it asks for something else than a package.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let path = percent_decode_str(uri.path()).decode_utf8().ok()?;
        let path = path.strip_prefix('/')?;
        if let Some(rest) = path.strip_prefix("-/package/") {
            let (name, rest) = name(rest)?;
            return (rest == "dist-tags").then(|| Self::Tags(name.to_owned()));
        }
        let (name, rest) = name(path)?;
        let of = name.to_owned();
        match rest.split('/').collect::<Vec<_>>().as_slice() {
            [""] => Some(Self::Package(of)),
            ["-", file] | ["-", _, file] => Some(Self::Tarball(of, (*file).to_owned())),
            [version] => Some(Self::Version(of, (*version).to_owned())),
            _ => None,
        }
    }

    /// The package.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Package(name) | Self::Version(name, _) | Self::Tags(name) | Self::Tarball(name, _) => name,
        }
    }
}

/// The name that a path begins with, and what follows. A name leads to a folder, so no part of it is a hidden one.
fn name(path: &str) -> Option<(&str, &str)> {
    let slashes = if path.starts_with('@') { 2 } else { 1 };
    let end = path.match_indices('/').nth(slashes - 1).map_or(path.len(), |(place, _)| place);
    let (name, rest) = path.split_at(end);
    let is_plain = |part: &str| {
        !part.is_empty() && !part.starts_with(['.', '-']) && !part.contains(|c: char| c == '\\' || c.is_control())
    };
    let mut parts = name.trim_start_matches('@').split('/');
    (name.split('/').count() == slashes && parts.all(is_plain)).then(|| (name, rest.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_package_and_what_of_it_is_asked_for() {
        let of = |path: &str| Target::of(&path.parse().unwrap());
        let (plain, scoped, file) = ("ms".to_owned(), "@acme/core".to_owned(), "core-1.0.0.tgz".to_owned());
        assert_eq!(of("/ms?write=true"), Some(Target::Package(plain.clone())));
        assert_eq!(of("/@acme/core"), Some(Target::Package(scoped.clone())));
        assert_eq!(of("/@acme%2fcore"), Some(Target::Package(scoped.clone())));
        assert_eq!(of("/%40acme%2Fcore/"), Some(Target::Package(scoped.clone())));
        assert_eq!(of("/ms/2.0.0"), Some(Target::Version(plain, "2.0.0".to_owned())));
        assert_eq!(of("/@acme%2fcore/latest"), Some(Target::Version(scoped.clone(), "latest".to_owned())));
        assert_eq!(of("/-/package/@acme%2fcore/dist-tags"), Some(Target::Tags(scoped.clone())));
        for path in ["/@acme/core/-/core-1.0.0.tgz", "/@acme%2fcore/-/@acme/core-1.0.0.tgz"] {
            assert_eq!(of(path), Some(Target::Tarball(scoped.clone(), file.clone())), "{path}");
        }
        for other in ["/", "/-/ping", "/-/v1/search", "/@acme", "/..%2f..", "/%2e%2e", "/@a%2f..", "/@../x", "/ms/a/b"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
