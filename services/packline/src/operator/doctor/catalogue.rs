//! The catalogue, asked as the poller asks it.

use std::time::Duration;

use clap::Parser;
use packline_poller::{config::Config, session::Session};

use super::Finding;

const ABOUT: &str = "catalogue";
/// How long each of its answers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks for the two tools.
pub(super) async fn look() -> Finding {
    if ["MCP_COMMAND", "MCP_URL"]
        .iter()
        .all(|name| std::env::var(name).is_ok_and(|value| value.is_empty()) || std::env::var_os(name).is_none())
    {
        return Finding::unknown(ABOUT, "not asked", "MCP_COMMAND or MCP_URL, as the poller has it, says where it is");
    }
    let config = match Config::try_parse_from(["poller"]) {
        Ok(config) => config,
        Err(error) => {
            let line = error.to_string().lines().next().unwrap_or_default().to_owned();
            return Finding::bad(ABOUT, line, "a poller with this environment does not start");
        }
    };
    let endpoint = match config.endpoint() {
        Ok(endpoint) => endpoint,
        Err(error) => return Finding::bad(ABOUT, error.to_string(), "a poller with this environment does not start"),
    };
    let tools = async {
        let session = Session::open(&endpoint, PATIENCE).await?;
        let tools = session.caller().tools().await;
        session.close().await;
        tools
    };
    let tools = match tools.await {
        Ok(tools) => tools,
        Err(error) => {
            return Finding::bad(ABOUT, error.to_string(), "mend MCP_COMMAND, MCP_URL or MCP_TOKEN, or the catalogue");
        }
    };
    let wanted = [&config.mcp_queue_tool, &config.mcp_update_tool];
    let missing: Vec<&str> = wanted.iter().filter(|tool| !tools.contains(tool)).map(|tool| tool.as_str()).collect();
    if missing.is_empty() {
        return Finding::good(
            ABOUT,
            format!("it has the tools {} and {}", config.mcp_queue_tool, config.mcp_update_tool),
        );
    }
    let text = format!("it has no tool {}, but {}", missing.join(" and no "), tools.join(", "));
    Finding::bad(ABOUT, text, "MCP_QUEUE_TOOL and MCP_UPDATE_TOOL name them")
}
