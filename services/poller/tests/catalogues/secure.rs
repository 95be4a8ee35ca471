//! A catalogue over https whose certificate an authority of one's own signed.

use std::{fs, path::Path};

use packline_testkit::{process::Process, tools};

use crate::{
    Place, foreign, names,
    program::{lines, start, stop},
    within,
};

#[tokio::test]
async fn an_authority_of_ones_own_is_believed_where_ssl_cert_file_names_it_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"));
    let python = tools::python().await.unwrap();
    let mut make = python.command(&fixtures.join("certificates.py"));
    make.arg(folder.path());
    let made = Process::spawn("certificates", make, &folder.path().join("certificates.log")).unwrap();
    assert!(within("certificates", made.exited()).await.success(), "{}", made.printed());
    fs::write(folder.path().join("queue.json"), r#"[{"name": "a"}]"#).unwrap();
    let mut serve = python.command(&fixtures.join("catalogue.py"));
    serve.arg(folder.path()).args(["structured", "--http", "hush"]);
    serve.arg(folder.path().join("server.pem")).arg(folder.path().join("server.key"));
    let server = Process::spawn("catalogue", serve, &folder.path().join("catalogue.log")).unwrap();
    let url = foreign::url(&server).await;
    assert!(url.starts_with("https://"));

    let mut place = Place::new().await;
    let settings = [("MCP_URL", url.as_str()), ("MCP_TOKEN", "hush")];
    let stranger = start(&place, "stranger", folder.path(), &settings);
    place
        .note("last", |last| last["error"].as_str().is_some_and(|error| error.to_lowercase().contains("certificate")))
        .await;
    let said = place.noted("last").await["error"].as_str().unwrap().to_owned();
    assert!(!said.contains("rmcp") && said.len() < 300, "{said}");
    // it goes on trying, and does not go on saying so
    let first = place.noted("last").await["at"].clone();
    place.note("last", |last| last["at"] != first).await;
    assert_eq!(lines(&stranger, "failed to poll, trying again in"), 1, "{}", stranger.printed());
    assert_eq!(lines(&stranger, " ERROR "), 1, "{}", stranger.printed());
    stop(&stranger).await;
    assert_eq!(place.announcements().await, 0);

    let authority = folder.path().join("ca.pem");
    let settings = [&settings[..], &[("SSL_CERT_FILE", authority.to_str().unwrap())]].concat();
    let poller = start(&place, "poller", folder.path(), &settings);
    assert_eq!(names(&place.announcement().await), ["a"]);
    stop(&poller).await;
}
