//! Names that no package may have, whatever reads them.

use std::collections::BTreeSet;

/// The nastiest, by hand: each has been somebody's hole once.
const NASTIEST: &[&str] = &[
    "",
    " ",
    ".",
    "..",
    "/",
    "../x",
    "../../../../tmp/packline-hostile",
    "/tmp/packline-hostile",
    "..\\..\\x",
    "C:\\x",
    "c:x",
    "file:///tmp/packline-hostile",
    "@",
    "@/",
    "@a",
    "@a/",
    "@/a",
    "@a/..",
    "@../x",
    "@./x",
    "@a/../b",
    "@a/b/c",
    "@@a/b",
    "@a/@b/c",
    "-g",
    "--registry=http://127.0.0.1:1",
    "@a/-g",
    "@-a/b",
    "@a/--workspaces",
    ".npmrc",
    "_auth",
    "@a/.b",
    "@a/_b",
    "@_a/b",
    "node_modules",
    "@a/node_modules",
    "@node_modules/a",
    "favicon.ico",
    "__proto__",
    "a*",
    "a>",
    "*",
    ">",
    "a.>",
    "a.*",
    "a..b",
    "@a/b..c",
    "a b",
    "a\tb",
    "a\nb",
    "core\n",
    "a\r\nNats-Rollup: all",
    "a\0b",
    "\u{0}",
    "a\u{1b}[2J",
    "a\u{7f}",
    "$JS.API.STREAM.DELETE.PACKAGES",
    "$KV.orchestrator.leader",
    "_INBOX.x",
    "a=2Eb",
    "a=2E=2E",
    "acme=2Fcore",
    "=40acme/core",
    "a%2fb",
    "%2e%2e%2fx",
    "..%c0%afx",
    "a%00",
    "$(touch packline-hostile)",
    "`touch packline-hostile`",
    "a;touch packline-hostile",
    "a|b",
    "a&&b",
    "a'b",
    "a\"b",
    "${HOME}",
    "~/.npmrc",
    "{{.Count}}",
    "<script>",
    "a:b",
    "npm:lodash@1",
    "git+ssh://a/b",
    "a@1.0.0",
    "@a/b@latest",
    "a#b",
    "a?b",
    "Core",
    "@Acme/core",
    "@acme/Core",
    "cоre",
    "ａcme",
    "@acme/ｃore",
    "ﬁle",
    "ıd",
    "core\u{200b}",
    "core\u{202e}gpj",
    "\u{feff}core",
    "co\u{301}re",
    "core\u{2028}x",
    "a\u{2024}\u{2024}b",
    "@a\u{2215}b/c",
    "😀",
];

/// What spoils a name wherever it stands in it.
const SPOILERS: &[&str] = &[
    "/../",
    "\\",
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "*",
    ">",
    "..",
    "%2e",
    "%00",
    "$(id)",
    "`id`",
    ";",
    "|",
    "&",
    "'",
    "\"",
    "<",
    "{{.}}",
    "=2E",
    "=2F",
    "=",
    ":",
    "#",
    "?",
    "!",
    "^",
    "+",
    ",",
    "(",
    "[",
    "{",
    "$",
    "\u{7f}",
    "\u{1b}[31m",
    "\u{200b}",
    "\u{200f}",
    "\u{202e}",
    "\u{feff}",
    "\u{301}",
    "а",
    "ο",
    "Ａ",
    "／",
    "．",
    "é",
    "ß",
    "中",
    "😀",
    "A",
    "Z",
    "@",
    "//",
];

/// So many different names, always the same ones: the nastiest, then spoilt ones, long ones among them.
///
/// None is a package's name by npm's rules made stricter, and none becomes one by an `@` before it.
pub fn hostile_names(count: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(0x7061_636b);
    let mut names: Vec<String> = NASTIEST.iter().map(|name| (*name).to_owned()).collect();
    names.extend(["a".repeat(215), format!("@acme/{}", "b".repeat(209)), "é".repeat(108), "x".repeat(4096)]);
    let mut seen: BTreeSet<String> = names.iter().cloned().collect();
    while names.len() < count {
        let name = spoilt(&mut random);
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    names
}

fn spoilt(random: &mut fastrand::Rng) -> String {
    let scope = word(random, 8);
    let name = word(random, 24);
    let clean = if random.bool() { format!("@{scope}/{name}") } else { name };
    match random.usize(..8) {
        0 => format!("{}{clean}", random.choice(["-", ".", "_"]).unwrap_or("-")),
        1 => format!("{clean}{}", "z".repeat(215)),
        _ => {
            // Not in front, where an `@` would only make a scope.
            let (before, after) = clean.split_at(random.usize(1..=clean.len()));
            let spoiler = random.choice(SPOILERS).copied().unwrap_or("*");
            format!("{before}{spoiler}{after}")
        }
    }
}

fn word(random: &mut fastrand::Rng, longest: usize) -> String {
    let length = random.usize(1..=longest);
    let letters = b"abcdefghijklmnopqrstuvwxyz0123456789-_.~";
    std::iter::repeat_with(|| random.choice(letters).map_or('a', |letter| char::from(*letter))).take(length).collect()
}

/// Whether a token of a subject or key is one that Packline derives from a name: the contract's grammar.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/=".contains(&byte))
}

#[cfg(test)]
mod tests {
    use packline_domain::PackageName;

    use super::*;

    #[test]
    fn none_of_the_hostile_names_is_a_name() {
        let names = hostile_names(2000);
        assert_eq!((names.len(), &names), (2000, &hostile_names(2000)));
        for name in names {
            assert!(name.parse::<PackageName>().is_err(), "{name:?}");
            assert!(PackageName::from_typed(&name).is_err(), "{name:?}");
        }
    }
}
