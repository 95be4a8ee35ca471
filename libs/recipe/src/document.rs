//! The tables of a recipe, and their keys.

use std::collections::{BTreeMap, HashMap};

use toml::de::{DeTable, DeValue};

use crate::{
    Limits, Phase, Problem, Recipe, Step,
    value::{self, Placed, Wrong},
    workspace::{self, WorkspaceOptions},
};

/// The most phases of one list: results name each, and have a largest size.
const MOST_PHASES: usize = 100;

/// Reads a whole recipe, see [`Recipe::parse`].
pub(crate) fn read(text: &str) -> Result<Recipe, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::default();
    for error in errors {
        reader.complain(error.span().map_or(0, |span| span.start), format!("not TOML: {}", error.message()));
    }
    // What was not understood as TOML is missing from the tables: nothing is said of these then.
    let recipe = if reader.wrongs.is_empty() { reader.recipe(document.get_ref(), text) } else { None };
    match recipe {
        Some(recipe) if reader.wrongs.is_empty() => Ok(recipe),
        _ => Err(reader.problems(text)),
    }
}

/// What was found wrong so far.
#[derive(Default)]
struct Reader {
    wrongs: Wrong,
}

impl Reader {
    fn complain(&mut self, at: usize, what: impl Into<String>) {
        self.wrongs.push((at, what.into()));
    }

    /// The value, or nothing and what is wrong with it.
    fn take<T>(&mut self, read: Result<T, Wrong>) -> Option<T> {
        read.map_err(|wrongs| self.wrongs.extend(wrongs)).ok()
    }

    fn problems(mut self, text: &str) -> Vec<Problem> {
        self.wrongs.sort();
        self.wrongs.into_iter().map(|(at, what)| Problem::at(text, at, what)).collect()
    }

    fn recipe(&mut self, document: &DeTable<'_>, text: &str) -> Option<Recipe> {
        let mut recipe = Recipe {
            max_fix_attempts: 0,
            phases: None,
            categories: BTreeMap::new(),
            workspace: WorkspaceOptions::default(),
        };
        let mut says_how = false;
        for (key, value) in document.iter() {
            match key.get_ref().as_ref() {
                "max_fix_attempts" => {
                    recipe.max_fix_attempts = self.take(value::fix_attempts(value)).unwrap_or_default();
                }
                "workspace" => {
                    says_how = true;
                    recipe.workspace = self.take(workspace::read(value)).unwrap_or_default();
                }
                "phase" => {
                    says_how = true;
                    recipe.phases = self.phases(value, "[[phase]]", text);
                }
                "category" => {
                    says_how = true;
                    self.categories(value, &mut recipe, text);
                }
                other => self.unknown(
                    key.span().start,
                    other,
                    "a recipe has max_fix_attempts, [workspace], [[phase]] and [[category.NAME.phase]]",
                ),
            }
        }
        if !says_how {
            self.complain(
                0,
                "a recipe without phases; write [[phase]], [[category.NAME.phase]] for some packages, or [workspace]",
            );
        }
        Some(recipe)
    }

    fn unknown(&mut self, at: usize, key: &str, right: &str) {
        self.complain(at, format!("unknown key `{}`; {right}", value::shown(key)));
    }

    fn categories(&mut self, value: &Placed<'_>, recipe: &mut Recipe, text: &str) {
        let right = "write [[category.NAME.phase]]";
        let DeValue::Table(categories) = value.get_ref() else {
            return self.complain(value.span().start, format!("category is {}; {right}", value::kind(value)));
        };
        if categories.is_empty() {
            self.complain(value.span().start, format!("category names none; {right}"));
        }
        for (name, value) in categories.iter() {
            if let Err(what) = value::category(name.get_ref()) {
                self.complain(name.span().start, what);
            }
            let header = format!("[[category.{}.phase]]", toml_key(name.get_ref()));
            let DeValue::Table(category) = value.get_ref() else {
                self.complain(value.span().start, format!("a category is {}; write {header}", value::kind(value)));
                continue;
            };
            for (key, value) in category.iter() {
                if key.get_ref() == "phase" {
                    if let Some(phases) = self.phases(value, &header, text) {
                        recipe.categories.insert(name.get_ref().to_string(), phases);
                    }
                } else {
                    self.unknown(key.span().start, key.get_ref(), &format!("a category has {header} alone"));
                }
            }
            if !category.iter().any(|(key, _)| key.get_ref() == "phase") {
                self.complain(name.span().start, format!("a category without phases; write {header}"));
            }
        }
    }

    fn phases(&mut self, value: &Placed<'_>, header: &str, text: &str) -> Option<Vec<Phase>> {
        let DeValue::Array(items) = value.get_ref() else {
            let kind = value::kind(value);
            self.complain(value.span().start, format!("phase is {kind}; it is an array of tables, write {header}"));
            return None;
        };
        if items.is_empty() {
            self.complain(value.span().start, format!("no phases; write {header}"));
        }
        if let Some(one_too_many) = items.get(MOST_PHASES) {
            let what = format!("{} phases, and {MOST_PHASES} are the most; run several commands in one", items.len());
            self.complain(one_too_many.span().start, what);
        }
        self.name_twice(items, text);
        let mut phases = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => phases.extend(self.phase(item.span().start, table)),
                _ => {
                    let kind = value::kind(item);
                    self.complain(item.span().start, format!("a phase is {kind}; it is a table, write {header}"));
                }
            }
        }
        Some(phases)
    }

    fn name_twice(&mut self, phases: &[Placed<'_>], text: &str) {
        let mut names: HashMap<&str, usize> = HashMap::new();
        for phase in phases {
            let DeValue::Table(table) = phase.get_ref() else { continue };
            let Some(value) = table.get("name") else { continue };
            let DeValue::String(name) = value.get_ref() else { continue };
            let at = value.span().start;
            match names.get(name.as_ref()) {
                None => {
                    names.insert(name, at);
                }
                Some(&first) => {
                    let line = Problem::at(text, first, String::new()).line;
                    let name = value::shown(name);
                    self.complain(at, format!("`{name}` is the name of the phase at line {line}; choose another"));
                }
            }
        }
    }

    fn phase(&mut self, at: usize, table: &DeTable<'_>) -> Option<Phase> {
        let (mut name, mut step, mut when, mut fix) = (None, None, None, None);
        let (mut limits, mut env) = (Limits::default(), BTreeMap::new());
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "name" => name = self.take(value::name(value)),
                "run" => step = self.take(value::argv(value, "run")).map(Step::Run),
                "builtin" if table.iter().any(|(key, _)| key.get_ref() == "run") => {
                    self.complain(key.span().start, "both run and builtin; a phase has one of them");
                }
                "builtin" => step = self.take(value::builtin(value)),
                "when" => when = self.take(value::when(value)),
                "timeout" => limits.timeout = self.take(value::duration(value, "timeout")).unwrap_or(limits.timeout),
                "silence" => limits.silence = self.take(value::duration(value, "silence")),
                "output_limit" => {
                    limits.output = self.take(value::size(value, "output_limit")).unwrap_or(limits.output);
                }
                "fix" => fix = self.take(value::argv(value, "fix")),
                "env" => env = self.take(value::env(value)).unwrap_or_default(),
                other => self.unknown(
                    key.span().start,
                    other,
                    "a phase has name, run or builtin, when, timeout, silence, output_limit, fix and env",
                ),
            }
        }
        let has = |key: &str| table.iter().any(|(there, _)| there.get_ref() == key);
        if !has("name") {
            self.complain(at, "a phase without a name; write name = \"build\"");
        }
        if !has("run") && !has("builtin") {
            self.complain(at, "a phase without a command; write run = [\"npm\", \"test\"]");
        }
        Some(Phase { name: name?, step: step?, when, limits, fix, env })
    }
}

/// A key as it is written in a header.
fn toml_key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if bare { name.to_owned() } else { format!("\"{}\"", value::shown(name)) }
}
