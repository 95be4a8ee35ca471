//! What can be set, by flag or by environment.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use packline_service::LogSettings;

/// A small real catalogue: an MCP server over SQLite
#[derive(Parser, Clone, Debug)]
#[command(name = "packages-api", version)]
pub struct Config {
    /// What to do; `serve` where nothing is said
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The SQLite database; made where there is none
    #[arg(long, env = "DATABASE", default_value = "packages.db", global = true, value_name = "FILE")]
    pub database: PathBuf,
    /// How it logs.
    #[command(flatten)]
    pub log: LogSettings,
}

/// What the program does.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Speak MCP on stdin and stdout until stdin ends
    Serve,
    /// Fill the database from an npm workspace
    Scan {
        /// The folder of the workspace: the one whose package.json has `workspaces`
        dir: PathBuf,
    },
}

impl packline_service::Settings for Config {
    fn log(&self) -> &LogSettings {
        &self.log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serving_is_what_it_does_when_nothing_is_said() {
        let config = Config::try_parse_from(["packages-api", "--database", "x.db"]).unwrap();
        assert!(config.command.is_none());
        assert_eq!(config.database, PathBuf::from("x.db"));
    }

    #[test]
    fn the_database_may_be_named_before_or_after_the_command() {
        for arguments in [["p", "--database", "x.db", "scan", "dir"], ["p", "scan", "dir", "--database", "x.db"]] {
            let config = Config::try_parse_from(arguments).unwrap();
            assert!(matches!(config.command, Some(Command::Scan { .. })));
            assert_eq!(config.database, PathBuf::from("x.db"));
        }
    }
}
