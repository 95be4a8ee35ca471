//! What can be set, by flag or by environment.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use jiff::tz::TimeZone;
use packline_service::{HealthSettings, LogSettings, Unusable};
use secrecy::{ExposeSecret, SecretString};

use crate::{cron::CronSchedule, report::Patience, schedule::Schedule, session::one_line};

const HALF_AN_HOUR: Duration = Duration::from_secs(1800);

/// The most packages that are asked for at once.
pub const MAX_LIMIT: u32 = 10_000;

/// Asks the catalogue over MCP what to build, announces it, and brings outcomes back
#[derive(Parser, Clone, Debug)]
#[command(name = "poller", version)]
pub struct Config {
    /// How often the catalogue is asked [default: 30m]
    #[arg(long, env = "POLL_INTERVAL", value_parser = packline_service::duration)]
    pub poll_interval: Option<Duration>,
    /// Instead, when it is asked: a cron pattern of 5 fields, or of 6 with the second first, in local time (TZ)
    #[arg(long, env = "POLL_CRON")]
    pub poll_cron: Option<String>,
    /// How many packages are asked for first; doubled up to 10000 while an answer is full
    #[arg(long, env = "POLL_LIMIT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LIMIT)))]
    pub poll_limit: u32,
    /// The catalogue as a program with arguments, spoken to on its stdin and stdout
    #[arg(long, env = "MCP_COMMAND")]
    pub mcp_command: Option<String>,
    /// The catalogue as the URL of a streamable HTTP endpoint
    #[arg(long, env = "MCP_URL")]
    pub mcp_url: Option<String>,
    /// Bearer token for that URL
    #[arg(long, env = "MCP_TOKEN", hide_env_values = true)]
    pub mcp_token: Option<SecretString>,
    /// The tool that names what is to be built
    #[arg(long, env = "MCP_QUEUE_TOOL", default_value = "packages_get_build_queue")]
    pub mcp_queue_tool: String,
    /// The tool that is told what became of a package
    #[arg(long, env = "MCP_UPDATE_TOOL", default_value = "packages_update")]
    pub mcp_update_tool: String,
    /// By what that tool knows a package
    #[arg(long, env = "MCP_UPDATE_ID", default_value = "name")]
    pub mcp_update_id: UpdateId,
    /// How long the catalogue may take for one answer
    #[arg(long, env = "MCP_TIMEOUT", default_value = "2m", value_parser = packline_service::duration)]
    pub mcp_timeout: Duration,
    /// Report also what is being built and what waits again, not only outcomes
    #[arg(long, env = "REPORT_PROGRESS", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub report_progress: bool,
    /// How long things take before something else is done.
    #[arg(skip)]
    pub patience: Patience,
    /// Where it says how it is.
    #[command(flatten)]
    pub health: HealthSettings,
    /// How the broker is reached.
    #[command(flatten)]
    pub nats: packline_broker::Settings,
    /// How it logs.
    #[command(flatten)]
    pub log: LogSettings,
}

/// By what the catalogue's update tool knows a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UpdateId {
    /// By its npm name.
    Name,
    /// By the id that the catalogue itself gave it; by its name where it gave none.
    Id,
}

/// How the catalogue is reached.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// A program and its arguments.
    Command {
        /// Looked up in `PATH` where it has no slash.
        program: String,
        /// As the program gets them.
        arguments: Vec<String>,
    },
    /// A streamable HTTP endpoint.
    Http {
        /// `http://` or `https://`.
        url: String,
        /// Sent as a bearer token.
        token: Option<SecretString>,
    },
}

impl Config {
    /// When the catalogue is asked.
    ///
    /// # Errors
    /// When both ways are set, or the pattern is none.
    pub fn schedule(&self) -> Result<Schedule, Unusable> {
        let pattern = self.poll_cron.as_deref().filter(|text| !text.trim().is_empty());
        let Some(pattern) = pattern else { return Ok(Schedule::Every(self.poll_interval.unwrap_or(HALF_AN_HOUR))) };
        if self.poll_interval.is_some() {
            return Err(Unusable("POLL_INTERVAL and POLL_CRON are both set; set one of them".into()));
        }
        let cron = CronSchedule::parse(pattern, time_zone()?);
        cron.map(|cron| Schedule::Cron(Box::new(cron)))
            .map_err(|why| Unusable(format!("POLL_CRON `{}`: {why}", one_line(&pattern))))
    }

    /// How the catalogue is reached.
    ///
    /// # Errors
    /// When not exactly one way is set, or it is none.
    pub fn endpoint(&self) -> Result<Endpoint, Unusable> {
        let given = |value: &Option<String>| value.clone().filter(|text| !text.trim().is_empty());
        match (given(&self.mcp_command), given(&self.mcp_url)) {
            (Some(command), None) => {
                let mut words = shlex::split(&command)
                    .ok_or_else(|| Unusable(format!("MCP_COMMAND `{command}` has a quote that is not closed")))?
                    .into_iter();
                let program = words.next().filter(|word| !word.is_empty());
                let program = program.ok_or_else(|| Unusable(format!("MCP_COMMAND `{command}` names no program")))?;
                Ok(Endpoint::Command { program, arguments: words.collect() })
            }
            (None, Some(url)) if url.starts_with("http://") || url.starts_with("https://") => {
                Ok(Endpoint::Http { url: url.trim().to_owned(), token: self.token()? })
            }
            (None, Some(url)) => Err(Unusable(format!("MCP_URL is like https://catalogue.example/mcp, not `{url}`"))),
            (Some(_), Some(_)) => Err(Unusable("MCP_COMMAND and MCP_URL are both set; set one of them".into())),
            (None, None) => Err(Unusable(
                "set MCP_COMMAND (a program with arguments) or MCP_URL, so that there is a catalogue to ask".into(),
            )),
        }
    }

    /// The bearer token; an empty one is none.
    fn token(&self) -> Result<Option<SecretString>, Unusable> {
        let token = self.mcp_token.as_ref().map(|token| token.expose_secret().trim()).filter(|token| !token.is_empty());
        if token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Unusable(
                "MCP_TOKEN has characters that no header can carry; a token is one word of printable ASCII".into(),
            ));
        }
        Ok(token.map(SecretString::from))
    }
}

/// The time zone of this machine; UTC where it has none.
fn time_zone() -> Result<TimeZone, Unusable> {
    match (TimeZone::try_system(), std::env::var("TZ")) {
        (Ok(zone), _) => Ok(zone),
        (Err(_), Ok(name)) if !name.trim().is_empty() => Err(Unusable(format!(
            "TZ `{}` is no time zone that this machine knows: install its time zone data (tzdata), or set TZ=UTC",
            one_line(&name)
        ))),
        (Err(_), _) => Ok(TimeZone::UTC),
    }
}

impl packline_service::Settings for Config {
    fn log(&self) -> &LogSettings {
        &self.log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(arguments: &[&str]) -> Result<Endpoint, Unusable> {
        Config::try_parse_from([&["poller"], arguments].concat()).unwrap().endpoint()
    }

    #[test]
    fn a_command_is_split_as_a_shell_splits_words() {
        let Endpoint::Command { program, arguments } =
            endpoint(&["--mcp-command", r#"node "/my files/x.js" --name='a b' c\ d $HOME"#]).unwrap()
        else {
            panic!("no command")
        };
        assert_eq!(program, "node");
        assert_eq!(arguments, ["/my files/x.js", "--name=a b", "c d", "$HOME"]);
    }

    #[test]
    fn a_url_may_come_with_a_token_that_is_never_shown() {
        let found =
            endpoint(&["--mcp-url", "https://c.example/mcp", "--mcp-token", "hush", "--mcp-command", ""]).unwrap();
        assert!(matches!(&found, Endpoint::Http { url, token: Some(_) } if url == "https://c.example/mcp"));
        assert!(!format!("{found:?}").contains("hush"));
    }

    #[test]
    fn a_token_from_a_file_may_end_with_a_line_break_and_an_empty_one_is_none() {
        for (given, expected) in [("hush\n", Some("hush")), ("", None), ("\n", None)] {
            let found = endpoint(&["--mcp-url", "http://b", "--mcp-token", given]).unwrap();
            let Endpoint::Http { token, .. } = found else { panic!("no URL") };
            assert_eq!(token.as_ref().map(ExposeSecret::expose_secret), expected, "{given:?}");
        }
    }

    #[test]
    fn unusable_settings_get_one_line_that_says_what_would_do() {
        for (arguments, said) in [
            (vec![], "set MCP_COMMAND"),
            (vec!["--mcp-command", "a", "--mcp-url", "http://b"], "set one of them"),
            (vec!["--mcp-command", "a 'b"], "a quote that is not closed"),
            (vec!["--mcp-command", "''"], "names no program"),
            (vec!["--mcp-url", "catalogue:80"], "is like https://"),
            (vec!["--mcp-url", "http://b", "--mcp-token", "two words"], "MCP_TOKEN has characters"),
            (vec!["--mcp-url", "http://b", "--mcp-token", "a\nb"], "MCP_TOKEN has characters"),
        ] {
            let line = endpoint(&arguments).unwrap_err().to_string();
            assert!(line.contains(said) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn polls_are_timed_by_an_interval_or_by_a_pattern_and_not_by_both() {
        let schedule =
            |arguments: &[&str]| Config::try_parse_from([&["poller"], arguments].concat()).unwrap().schedule();
        assert!(matches!(schedule(&[]), Ok(Schedule::Every(HALF_AN_HOUR))));
        assert!(matches!(schedule(&["--poll-interval", "5s", "--poll-cron", ""]), Ok(Schedule::Every(_))));
        assert!(matches!(schedule(&["--poll-cron", "*/30 * * * *"]), Ok(Schedule::Cron(_))));
        for (arguments, said) in [
            (vec!["--poll-interval", "30m", "--poll-cron", "*/30 * * * *"], "are both set; set one of them"),
            (vec!["--poll-cron", "*/30 * * *"], "POLL_CRON `*/30 * * *`: 4 fields"),
            (vec!["--poll-cron", "0 99 * * *"], "the hour `99`"),
            (vec!["--poll-cron", "0 0 30 2 *"], "it never comes"),
        ] {
            let line = schedule(&arguments).unwrap_err().to_string();
            assert!(line.contains(said) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn progress_is_reported_only_when_asked_for() {
        for (arguments, expected) in [
            (vec!["poller"], false),
            (vec!["poller", "--report-progress"], true),
            (vec!["poller", "--report-progress", "false"], false),
        ] {
            assert_eq!(Config::try_parse_from(arguments).unwrap().report_progress, expected);
        }
    }

    #[test]
    fn limits_and_durations_are_checked() {
        for wrong in
            [["--poll-limit", "0"], ["--poll-limit", "10001"], ["--poll-interval", "soon"], ["--mcp-timeout", "0s"]]
        {
            assert!(Config::try_parse_from(["poller", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
        }
    }
}
