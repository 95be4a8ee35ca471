//! The patterns that name members, as the manager's own reader of them understands them.

use globset::{GlobBuilder, GlobMatcher};

use crate::{Manager, brace};

const MODULES: &str = "node_modules";

/// Patterns that choose folders, and those that take some of them away again.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    pub(crate) chosen: Vec<Pattern>,
    pub(crate) refused: Vec<Pattern>,
    /// Folders in which nothing is found.
    pub(crate) skipped: &'static [&'static str],
    /// Whether `**` goes on behind links, except back to where it came from.
    pub(crate) follows_links: bool,
    /// Whether `a/**` means what is below `a`, and not `a` as well.
    pub(crate) ends_below: bool,
}

/// One pattern without braces, part by part.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    pub(crate) parts: Vec<Part>,
    /// Whether it ended with `/`.
    is_folder: bool,
    /// Whether it is the root itself: no other pattern finds that.
    pub(crate) is_root: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// `**`: any number of folders.
    Any,
    /// The name of one folder.
    Literal(String),
    /// A name with wildcards.
    Glob { matcher: GlobMatcher, takes_hidden: bool },
}

impl Patterns {
    /// Reads the patterns as `manager` does.
    ///
    /// # Errors
    /// What is wrong with one of them, as it follows the name of its file.
    pub(crate) fn parse<'a>(manager: Manager, texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let skipped: &[&str] = if manager == Manager::Pnpm { &[MODULES, "bower_components"] } else { &[MODULES] };
        let read = match manager {
            Manager::Npm => Self::ordered(texts)?,
            Manager::Pnpm => Self { follows_links: true, ..Self::unordered(texts)? },
            Manager::YarnBerry => Self { follows_links: true, ends_below: true, ..Self::unordered(texts)? },
            // It knows no negations.
            Manager::YarnClassic => Self::unordered(texts.into_iter().filter(|text| !text.starts_with('!')))?,
        };
        Ok(Self { skipped, ..read })
    }

    /// Reads the patterns in their order. A pattern takes back the earlier negations that match it.
    fn ordered<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let (mut chosen, mut refused) = (Vec::new(), Vec::<(Vec<Pattern>, String)>::new());
        for text in texts {
            let bare = text.trim_start_matches('!');
            let is_negated = (text.len() - bare.len()) % 2 == 1;
            let bare = from_root(bare);
            let patterns = Pattern::all(&bare)
                .map_err(|problem| format!("has the pattern {text:?}, which is not understood: {problem}"))?;
            if is_negated {
                refused.push((patterns, bare));
                continue;
            }
            // npm steps over the one behind each that it takes away
            let mut at = 0;
            while let Some((negated, _)) = refused.get(at) {
                if negated.iter().any(|negated| negated.matches_text(&bare)) {
                    refused.remove(at);
                }
                at += 1;
            }
            chosen.push((patterns, bare));
        }
        chosen.retain(|(_, text)| !refused.iter().any(|(negated, _)| negated.iter().any(|one| one.matches_text(text))));
        let flat = |all: Vec<(Vec<Pattern>, String)>| all.into_iter().flat_map(|(patterns, _)| patterns).collect();
        Ok(Self { chosen: flat(chosen), refused: flat(refused), ..Self::default() })
    }

    /// Reads patterns of which the order means nothing: a negation takes away what any other one finds.
    fn unordered<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut all = Self::default();
        for text in texts {
            let (list, bare) = match text.strip_prefix('!') {
                Some(bare) => (&mut all.refused, bare),
                None => (&mut all.chosen, text),
            };
            let patterns = Pattern::all(&from_root(bare))
                .map_err(|problem| format!("has the pattern {text:?}, which is not understood: {problem}"))?;
            list.extend(patterns);
        }
        Ok(all)
    }

    /// Whether a negation takes this folder away. They see hidden folders, and folders by `a/` as well as by `a`.
    pub(crate) fn refuses(&self, folder: &[&str]) -> bool {
        self.refused.iter().any(|pattern| matches(&pattern.parts, folder, Hidden::Seen, End::Folder))
    }
}

/// A pattern as it stands below the root.
fn from_root(text: &str) -> String {
    let text = text.replace('\\', "/");
    let rest = text.strip_prefix('.').filter(|rest| rest.starts_with('/')).unwrap_or(&text);
    rest.trim_start_matches('/').to_owned()
}

impl Pattern {
    fn all(text: &str) -> Result<Vec<Self>, String> {
        let all = brace::expand(text).ok_or("its braces stand for too many patterns")?;
        all.iter().map(|text| Self::parse(text)).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut parts: Vec<Part> = Vec::new();
        let is_root = text == ".";
        for name in text.split('/').filter(|name| !name.is_empty() && !is_root) {
            if name == "**" {
                if !matches!(parts.last(), Some(Part::Any)) {
                    parts.push(Part::Any);
                }
            } else if name == ".." && parts.last().is_some_and(|part| !matches!(part, Part::Any)) {
                parts.pop();
            } else {
                parts.push(Part::parse(name)?);
            }
        }
        Ok(Self { text: text.to_owned(), parts, is_folder: text.ends_with('/'), is_root })
    }

    /// Whether it leads out of the workspace.
    pub(crate) fn leaves(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Literal(name) if name == ".."))
    }

    /// Whether it matches the text of another pattern as if that were a path.
    fn matches_text(&self, text: &str) -> bool {
        let end = if text.ends_with('/') { End::Folder } else { End::File };
        let path: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
        (end == End::Folder || !self.is_folder) && matches(&self.parts, &path, Hidden::Unseen, end)
    }
}

impl Part {
    fn parse(name: &str) -> Result<Self, String> {
        let is_extended = ["?(", "*(", "+(", "@(", "!("].into_iter().any(|start| name.contains(start));
        if is_extended && name.contains(')') {
            return Err("a group in parentheses; write `{a,b}`, or a pattern that begins with `!`".into());
        }
        if !name.contains(['*', '?', '[']) {
            return Ok(Self::Literal(name.to_owned()));
        }
        let escaped = name.replace('{', "[{]").replace('}', "[}]");
        let matcher = GlobBuilder::new(&escaped).literal_separator(true).backslash_escape(false).build();
        let matcher = matcher.map_err(|error| error.kind().to_string())?.compile_matcher();
        Ok(Self::Glob { matcher, takes_hidden: name.starts_with('.') })
    }

    /// Whether it is the name of this folder; not for [`Part::Any`].
    pub(crate) fn is(&self, name: &str, hidden: Hidden) -> bool {
        match self {
            Self::Any => false,
            Self::Literal(literal) => literal == name,
            Self::Glob { matcher, takes_hidden } => {
                (*takes_hidden || hidden == Hidden::Seen || !name.starts_with('.')) && matcher.is_match(name)
            }
        }
    }
}

/// Whether wildcards match names that begin with a dot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hidden {
    Seen,
    Unseen,
}

/// How a path ends: `a/**` matches `a/`, and not `a`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    File,
    Folder,
}

fn matches(parts: &[Part], path: &[&str], hidden: Hidden, end: End) -> bool {
    match (parts.split_first(), path.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((Part::Any, [])), None) => end == End::Folder,
        (Some((Part::Any, rest)), None) => matches(rest, path, hidden, end),
        (Some((Part::Any, rest)), Some((name, below))) => {
            matches(rest, path, hidden, end)
                || (hidden == Hidden::Seen || !name.starts_with('.'))
                    && (matches(parts, below, hidden, end) || rest.is_empty() && below.is_empty())
        }
        (Some(_), None) => false,
        (Some((part, rest)), Some((name, below))) => part.is(name, hidden) && matches(rest, below, hidden, end),
    }
}
