//! What can be set, by flag or by environment.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use packline_service::{HealthSettings, LogSettings};
use secrecy::SecretString;

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
    /// Whether and how it serves HTTP.
    #[command(flatten)]
    pub http: HttpSettings,
    /// Where it says how it is.
    #[command(flatten)]
    pub health: HealthSettings,
    /// How it logs.
    #[command(flatten)]
    pub log: LogSettings,
}

/// Whether and how MCP is spoken over streamable HTTP.
#[derive(Args, Clone, Debug)]
pub struct HttpSettings {
    /// Serve MCP on /mcp and a page on / of this address, instead of stdin and stdout; port 0 takes a free one
    /// and prints the URL
    #[arg(long = "http", env = "MCP_HTTP_ADDR", global = true, value_name = "ADDRESS", value_parser = packline_service::address)]
    pub address: Option<SocketAddr>,
    /// Bearer token that HTTP clients must show, for the page as the password; needed beyond loopback
    #[arg(long = "mcp-token", env = "MCP_TOKEN", hide_env_values = true, global = true)]
    pub token: Option<SecretString>,
    /// Host names, with commas, under which HTTP clients may call besides localhost and IP addresses
    #[arg(
        long = "allowed-hosts",
        env = "MCP_ALLOWED_HOSTS",
        global = true,
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub allowed_hosts: Vec<String>,
}

/// What the program does.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Speak MCP: on stdin and stdout until stdin ends, or over HTTP until asked to stop
    Serve,
    /// Fill the database from a workspace
    Scan {
        /// The folder of the workspace, or of one package
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
    fn http_is_asked_for_before_or_after_the_command_or_without_one() {
        for arguments in [
            &["p", "serve", "--http", "127.0.0.1:0", "--mcp-token", "hush"][..],
            &["p", "--http", "127.0.0.1:0", "--mcp-token", "hush", "serve"],
            &["p", "--http", "localhost:0", "--mcp-token", "hush"],
        ] {
            let config = Config::try_parse_from(arguments).unwrap();
            assert_eq!(config.http.address, Some("127.0.0.1:0".parse().unwrap()));
            assert!(!format!("{config:?}").contains("hush"));
        }
        assert!(Config::try_parse_from(["p", "--http", "8080"]).is_err());
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
