//! Settings of package managers without the credentials in them.
//!
//! All else stays byte for byte. Lines are taken one by one, so a file that its manager would refuse is cleaned too.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The last part of the names of settings of npm, yarn 1 and pnpm that hold a credential or lead to one.
const NPM: [&str; 11] = [
    "_auth",
    "_authtoken",
    "_password",
    "username",
    "email",
    "cert",
    "key",
    "certfile",
    "keyfile",
    "otp",
    "tokenhelper",
];
/// The names of settings of yarn that hold one.
const YARN: [&str; 2] = ["npmAuthToken", "npmAuthIdent"];

/// The syntax of a file with settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `.npmrc`.
    Ini,
    /// `.yarnrc` of yarn 1.
    Words,
    /// `.yarnrc.yml`.
    Yaml,
}

/// The syntax of a file at the root or in a member that may hold credentials; `None` for any other file.
pub(super) fn syntax(path: &Path, members: &BTreeSet<PathBuf>) -> Option<Syntax> {
    let folder = path.parent()?;
    let syntax = match path.file_name()?.as_encoded_bytes() {
        b".npmrc" => Syntax::Ini,
        b".yarnrc" => Syntax::Words,
        b".yarnrc.yml" => Syntax::Yaml,
        _ => return None,
    };
    (folder.as_os_str().is_empty() || members.contains(folder)).then_some(syntax)
}

/// The settings without credentials, and how many there were.
pub(super) fn clean(bytes: &[u8], syntax: Syntax) -> (Vec<u8>, u64) {
    let mut cleaned = Vec::with_capacity(bytes.len());
    let mut count = 0;
    // In YAML: how far the key of a value was indented that goes on in the next lines.
    let mut dropped_below: Option<usize> = None;
    for line in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        let text = String::from_utf8_lossy(line);
        let kept = match syntax {
            Syntax::Ini => (!is_npm_key(text.split('=').next().unwrap_or_default())).then(|| line.to_owned()),
            Syntax::Words => (!is_npm_key(first_word(&text))).then(|| line.to_owned()),
            Syntax::Yaml => {
                let indent = text.len() - text.trim_start_matches(' ').len();
                if dropped_below.is_some_and(|key| indent > key || text.trim().is_empty()) {
                    // Blank lines may stand within a value; they say nothing elsewhere.
                    if text.trim().is_empty() { Some(line.to_owned()) } else { None }
                } else {
                    dropped_below = None;
                    match yaml(&text) {
                        Some((cleaned, found, is_open)) => {
                            count += found;
                            dropped_below = is_open.then_some(indent);
                            Some(cleaned.into_bytes())
                        }
                        None => Some(line.to_owned()),
                    }
                }
            }
        };
        match kept {
            Some(line) => cleaned.extend(without_user(line, &mut count)),
            None if syntax != Syntax::Yaml => count += 1,
            None => {}
        }
    }
    (cleaned, count)
}

/// Whether a key, as it is written, is that of a credential: alone or for one registry (`//host/:_authToken`).
fn is_npm_key(key: &str) -> bool {
    let key = key.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if key.starts_with([';', '#']) {
        return false;
    }
    let unquoted = match serde_json::from_str::<String>(key.trim_matches('\'')) {
        Ok(text) => text,
        Err(_) => key.trim_matches(['"', '\'']).replace('\\', ""),
    };
    let name = unquoted.rsplit(':').next().unwrap_or_default().trim();
    let name = name.strip_suffix("[]").unwrap_or(name).to_ascii_lowercase();
    NPM.contains(&name.as_str())
}

/// The first word of a line, in quotes or not.
fn first_word(line: &str) -> &str {
    let line = line.trim_start();
    match line.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        Some((quoted, _)) => quoted,
        None => line.split_whitespace().next().unwrap_or_default(),
    }
}

/// A line of YAML with empty texts for the credentials in it, how many they are, and whether the last of them may go on
/// in the lines below; `None` where there is none.
fn yaml(line: &str) -> Option<(String, u64, bool)> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let mut cleaned = String::new();
    let mut rest = line;
    let mut is_open = false;
    let mut found = 0;
    while let Some((before, after)) = split_at_key(rest) {
        found += 1;
        let is_in_braces = cleaned.contains('{') || before.contains('{');
        let blanks = after.len() - after.trim_start_matches([' ', '\t']).len();
        let (blank, value) = after.split_at(blanks);
        let end = value_end(value, is_in_braces);
        cleaned.extend([before, blank, "\"\""]);
        is_open = !is_in_braces && !is_whole(value.get(..end).unwrap_or_default());
        rest = value.get(end..).unwrap_or_default();
    }
    (found > 0).then(|| (cleaned + rest, found, is_open))
}

/// What stands up to the `:` of the next credential's key, with it, and what comes after.
fn split_at_key(text: &str) -> Option<(&str, &str)> {
    let ends = YARN.iter().filter_map(|key| {
        let at = text.find(key)? + key.len();
        let after = text.get(at..)?;
        let colon = after.find(':')?;
        let between = after.get(..colon)?;
        between.chars().all(|c| c == '"' || c == '\'' || c == ' ').then_some(at + colon + 1)
    });
    text.split_at_checked(ends.min()?)
}

/// Where a value ends: at the end of its quotes, else of the line, in braces at the next `,` or `}`.
fn value_end(value: &str, is_in_braces: bool) -> usize {
    if let Some(quote) = value.chars().next().filter(|c| *c == '"' || *c == '\'') {
        let closed = value.char_indices().skip(1).find(|(at, c)| {
            *c == quote && !(quote == '"' && value.get(..*at).is_some_and(|before| before.ends_with('\\')))
        });
        return closed.map_or(value.trim_end().len(), |(at, _)| at + 1);
    }
    let line = value.trim_end().len();
    if is_in_braces { value.split([',', '}']).next().unwrap_or_default().trim_end().len() } else { line }
}

/// Whether nothing of a value can stand in the next lines.
fn is_whole(value: &str) -> bool {
    ['"', '\''].iter().any(|quote| value.len() > 1 && value.starts_with(*quote) && value.ends_with(*quote))
}

/// A line without user names and passwords in addresses (`https://user:password@host/`).
fn without_user(line: Vec<u8>, count: &mut u64) -> Vec<u8> {
    let text = String::from_utf8_lossy(&line);
    let mut cleaned = String::new();
    let mut rest = text.as_ref();
    let mut found = 0;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        cleaned.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace() || c == '"' || c == '\'').unwrap_or(after.len());
        let is_web = before.ends_with("http://") || before.ends_with("https://");
        rest = match after.get(..end).and_then(|host| host.rfind('@')).filter(|_| is_web) {
            Some(user) => {
                found += 1;
                after.get(user + 1..).unwrap_or_default()
            }
            None => after,
        };
    }
    if found == 0 {
        return line;
    }
    *count += found;
    (cleaned + rest).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str, syntax: Syntax) -> (String, u64) {
        let (bytes, count) = clean(text.as_bytes(), syntax);
        (String::from_utf8(bytes).unwrap(), count)
    }

    #[test]
    fn npmrc_keeps_all_but_credentials() {
        let text = "registry = https://r.example/ ; ours\r\n//r.example/:_authToken=${TOKEN}\r\n# _auth = said\n\
                    _auth=abc\n  \"//r.example/:_password\" = x\n'//r.example/:username'=u\n@acme:registry=https://a.example\n\
                    //r.example/:certfile=/x\n//r.example/:tokenHelper=/bin/x\nkey[]=a\ncafile=ca.pem\nstrict-ssl=false\n\
                    always-auth\nemail=a@b.example\n//r.example/:\\_authToken=x\nend=1";
        let kept = "registry = https://r.example/ ; ours\r\n\n# _auth = said\n@acme:registry=https://a.example\n\
                    cafile=ca.pem\nstrict-ssl=false\nalways-auth\nend=1";
        let (result, count) = cleaned(text, Syntax::Ini);
        assert_eq!(result, kept);
        assert_eq!(count, 9);
        assert_eq!(cleaned(&result, Syntax::Ini), (kept.to_owned(), 0));
    }

    #[test]
    fn a_user_in_an_address_is_a_credential() {
        assert_eq!(
            cleaned(
                "registry=https://u:p@r.example/x\nproxy=\"http://t@p.example:1\"\na=git+ssh://git@h/x\n",
                Syntax::Ini
            ),
            ("registry=https://r.example/x\nproxy=\"http://p.example:1\"\na=git+ssh://git@h/x\n".into(), 2)
        );
        assert_eq!(cleaned("a=https://h/@acme/x@1\n", Syntax::Ini), ("a=https://h/@acme/x@1\n".into(), 0));
    }

    #[test]
    fn yarnrc_keeps_all_but_credentials() {
        let text = "registry \"https://r.example/\"\n\"//r.example/:_authToken\" abc\n_auth x\nlastUpdateCheck 1\n";
        assert_eq!(cleaned(text, Syntax::Words), ("registry \"https://r.example/\"\nlastUpdateCheck 1\n".into(), 2));
    }

    #[test]
    fn yarnrc_yml_keeps_all_but_credentials() {
        let text = "nodeLinker: node-modules\nnpmAuthToken: abc # said\n\nnpmScopes:\n  acme:\n    npmAuthIdent: >-\n      user:\n      password\n    npmAlwaysAuth: true\n  \
                    b: { npmRegistryServer: \"https://u:p@b.example\", npmAuthToken: \"a,}b\", x: 1, 'npmAuthIdent': z }\n\
                    \"npmAuthToken\": 'x'\n# npmAuthToken: y\nyarnPath: .yarn/x.cjs\n";
        let kept = "nodeLinker: node-modules\nnpmAuthToken: \"\"\n\nnpmScopes:\n  acme:\n    npmAuthIdent: \"\"\n    npmAlwaysAuth: true\n  \
                    b: { npmRegistryServer: \"https://b.example\", npmAuthToken: \"\", x: 1, 'npmAuthIdent': \"\" }\n\
                    \"npmAuthToken\": \"\"\n# npmAuthToken: y\nyarnPath: .yarn/x.cjs\n";
        assert_eq!(cleaned(text, Syntax::Yaml), (kept.to_owned(), 6));
    }

    #[test]
    fn what_is_no_text_stays() {
        let bytes = b"a=\xff\xfe\n_auth=\xff\nb=1";
        assert_eq!(clean(bytes, Syntax::Ini), (b"a=\xff\xfe\nb=1".to_vec(), 1));
    }

    #[test]
    fn settings_are_those_of_root_and_members() {
        let members = [Path::new("packages/a").to_owned()].into();
        let of = |path: &str| syntax(Path::new(path), &members);
        assert_eq!(of(".npmrc"), Some(Syntax::Ini));
        assert_eq!(of("packages/a/.npmrc"), Some(Syntax::Ini));
        assert_eq!(of("packages/a/fixtures/.npmrc"), None);
        assert_eq!(of(".yarnrc.yml"), Some(Syntax::Yaml));
        assert_eq!(of(".yarnrc"), Some(Syntax::Words));
        assert_eq!(of("npmrc"), None);
    }
}
