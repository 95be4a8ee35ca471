//! A catalogue that serves HTTP on a free port.

use std::{path::PathBuf, time::Duration};

use packline_testkit::{
    http::use_ring,
    process::{Process, command},
};
use rmcp::{
    RoleClient, ServiceExt,
    model::CallToolRequestParams,
    service::RunningService,
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::Value;
use tempfile::TempDir;

/// The token that tests set.
pub(crate) const TOKEN: &str = "right-token";

/// A running `packages-api`, its database and its folder.
pub(crate) struct Served {
    pub(crate) process: Process,
    pub(crate) database: PathBuf,
    /// Of MCP.
    pub(crate) url: String,
    _folder: TempDir,
}

impl Served {
    /// Starts one and waits until it has said where it is.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("packages.db");
        let mut program = command(env!("CARGO_BIN_EXE_packages-api"));
        program.args(["serve", "--http", "127.0.0.1:0", "--database"]).arg(&database).args(arguments);
        let process = Process::spawn("packages-api", program, &folder.path().join("log")).unwrap();
        let url = loop {
            let printed = process.printed();
            // a whole line: the rest of it may still be under way
            if let Some(url) =
                printed.split_inclusive('\n').find(|line| line.starts_with("http://") && line.ends_with('\n'))
            {
                break url.trim().to_owned();
            }
            assert!(process.is_running(), "{printed}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Self { process, database, url, _folder: folder }
    }

    /// Of the page.
    pub(crate) fn page(&self) -> String {
        self.url.replace("/mcp", "/")
    }

    /// `127.0.0.1:port`.
    pub(crate) fn authority(&self) -> String {
        self.url.replace("http://", "").replace("/mcp", "")
    }

    /// An MCP client of it.
    pub(crate) async fn client(&self, token: Option<&str>) -> RunningService<RoleClient, ()> {
        use_ring();
        let mut config = StreamableHttpClientTransportConfig::with_uri(self.url.as_str());
        if let Some(token) = token {
            config = config.auth_header(token);
        }
        ().serve(StreamableHttpClientTransport::from_config(config)).await.unwrap()
    }
}

/// Calls a tool that is expected to do what it is asked.
pub(crate) async fn call(client: &RunningService<RoleClient, ()>, tool: &'static str, arguments: Value) -> Value {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    let result = client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await.unwrap();
    assert_eq!(result.is_error, Some(false), "{result:?}");
    result.structured_content.unwrap()
}
