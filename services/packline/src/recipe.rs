//! `packline recipe check`: what a recipe file does, or all that is wrong with it.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::bail;
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use humantime::format_duration;
use packline_recipe::{Limits, Phase, Recipe, RecipeError, Step, When, WorkspaceMode};
use packline_service::Unusable;

/// Room that most terminals have.
const WIDTH: u16 = 100;

/// What to do with a recipe.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Say what a recipe file does, or all that is wrong with it, each as FILE:LINE:COLUMN
    ///
    /// The worker reads RECIPE by the same code. What the recipe does goes to stdout, what is wrong to stderr.
    /// Exit status: 0 a worker takes the file, 1 it is wrong, 2 it cannot be read.
    Check {
        /// The recipe, in TOML
        file: PathBuf,
    },
}

/// Does it.
///
/// # Errors
/// When the file is wrong; [`Unusable`] where it cannot be read.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    let Command::Check { file } = &settings.command;
    match Recipe::read(file) {
        Ok(recipe) => {
            for warning in recipe.warnings() {
                eprintln!("{}: warning: {warning}", file.display());
            }
            println!("{}", shown(&recipe));
            Ok(())
        }
        Err(RecipeError::Unreadable(why)) => Err(Unusable(why).into()),
        Err(RecipeError::Wrong(problems)) => {
            for problem in &problems {
                eprintln!("{}:{problem}", file.display());
            }
            bail!("{}: {}", file.display(), RecipeError::Wrong(problems))
        }
    }
}

/// A table of all phases, and what is not in it.
fn shown(recipe: &Recipe) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["category", "phase", "runs", "when", "limits", "fix", "env"]);
    for phase in recipe.phases.iter().flatten() {
        table.add_row(row(if recipe.categories.is_empty() { "(all)" } else { "(all others)" }, phase));
    }
    if recipe.phases.is_none() {
        let all = if recipe.categories.is_empty() { "(all)" } else { "(all others)" };
        let phases = match recipe.workspace.mode {
            WorkspaceMode::Workspace => "install, prepare, build, typecheck, lint, test, publish",
            WorkspaceMode::Isolated => "install, build, lint, test, publish",
        };
        table.add_row([all, "", &format!("built in for npm: {phases}"), "", "", "", ""]);
    }
    for (category, phases) in &recipe.categories {
        for phase in phases {
            table.add_row(row(&category.escape_debug().to_string(), phase));
        }
    }
    let fixes = match recipe.max_fix_attempts {
        0 => "nothing is fixed".to_owned(),
        1 => "one fix".to_owned(),
        most => format!("up to {most} fixes"),
    };
    format!("{table}\nIn a workspace: {}.\nIn a build {fixes}.", recipe.workspace)
}

fn row(category: &str, phase: &Phase) -> [String; 7] {
    let runs = match &phase.step {
        Step::Run(argv) => words(argv),
        Step::Install => "install (built in)".to_owned(),
        Step::Prepare => "prepare (built in)".to_owned(),
        Step::Publish => "publish (built in)".to_owned(),
    };
    let when = match &phase.when {
        None => String::new(),
        Some(When::Script(script)) => format!("script {}", script.escape_debug()),
        Some(When::File(file)) => format!("file {}", file.escape_debug()),
    };
    let fix = phase.fix.as_deref().map(words).unwrap_or_default();
    [category.to_owned(), phase.name.clone(), runs, when, limits(&phase.limits), fix, names(&phase.env)]
}

/// A command as a shell would be told it; nothing in it moves the cursor.
fn words(argv: &[String]) -> String {
    let plain = |word: &String| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
        if !word.is_empty() && word.bytes().all(plain) { word.clone() } else { format!("'{}'", word.escape_debug()) }
    };
    argv.iter().map(plain).collect::<Vec<_>>().join(" ")
}

fn limits(limits: &Limits) -> String {
    let silence = limits.silence.map(|silence| format!(", {} silent", format_duration(silence))).unwrap_or_default();
    format!("{}{silence}, {}", format_duration(limits.timeout), size(limits.output))
}

/// In the units that make it the shorter number.
fn size(bytes: u64) -> String {
    let size = ByteSize(bytes);
    if bytes.is_multiple_of(1024) && !bytes.is_multiple_of(1000) {
        size.display().iec().to_string()
    } else {
        size.display().si().to_string()
    }
}

/// Values may be long, and are nobody's business on a screen.
fn names(env: &BTreeMap<String, String>) -> String {
    env.keys().map(|name| name.escape_debug().to_string()).collect::<Vec<_>>().join(" ")
}
