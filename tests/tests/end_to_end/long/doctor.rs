//! `packline doctor` finds what is wrong, one line each, with the mend.
use packline_testkit::{
    nats::{NatsOptions, NatsServer},
    port::free_port,
    tools,
};
use packline_tests::{Fixture, Operator, Said, Scene};
use serde_json::Value;

/// The verdict on one thing, and all that is said of it.
fn finding<'a>(findings: &'a Value, about: &str) -> (&'a str, String) {
    let all = findings["findings"].as_array().unwrap();
    let found = all.iter().find(|finding| finding["about"] == about).unwrap_or_else(|| panic!("{about} in {findings}"));
    let text = |field: &str| found[field].as_str().unwrap_or_default();
    (found["verdict"].as_str().unwrap(), format!("{}; {}", text("text"), text("mend")))
}

async fn doctor(operator: &Operator, settings: &[(&str, &str)]) -> (i32, Value) {
    let mut doctor = operator.command(&["doctor", "--json"]);
    // Nobody outside is asked.
    let nowhere = "http://127.0.0.1:1";
    doctor.env("NPM_REGISTRY", nowhere).env("NATS_MONITOR_URL", nowhere).envs(settings.iter().copied());
    let said = Said::of(doctor).await.unwrap();
    (said.status, serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}")))
}

async fn server(sync_always: bool, further: &str) -> NatsServer {
    let options = NatsOptions::durable(tools::nats_server().await.unwrap());
    NatsServer::start(NatsOptions { sync_always, further: further.to_owned(), ..options }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_well_is_found_so_in_all_its_parts() {
    let mut scene = Scene::start(&[Fixture::new("core")], &[]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    let operator = Operator::at(&scene.plant.broker.url()).await.unwrap();
    let (catalogue, registry) = (scene.plant.catalogue.command(), scene.plant.registry.url());
    let workspace = scene.plant.workspace().to_string_lossy().into_owned();
    let settings = [("MCP_COMMAND", &*catalogue), ("NPM_REGISTRY", &*registry), ("WORKSPACE_ROOT", &*workspace)];
    let mut found = doctor(&operator, &settings).await;
    // A broker whose disk hangs for seconds answers in time a little later.
    for _ in 0..5 {
        if !found.1.to_string().contains("not in time") && finding(&found.1, "line").0 == "good" {
            break;
        }
        found = doctor(&operator, &settings).await;
    }
    let (status, findings) = found;
    for about in
        ["broker", "JetStream", "streams", "rights", "clock", "line", "catalogue", "npm", "registry", "workspace"]
    {
        assert_eq!(finding(&findings, about).0, "good", "{about}: {findings}");
    }
    assert_eq!(finding(&findings, "sync_interval").0, "unknown", "nobody said where it can be asked");
    assert_eq!(status, 0);
    let mut shown = operator.command(&["doctor"]);
    shown.envs(settings);
    let shown = Said::of(shown).await.unwrap().stdout;
    assert!(shown.lines().all(|line| line.starts_with("ok ") || line.starts_with("? ")), "one line each: {shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_forgets_on_a_power_cut_is_found_out_where_it_says_so() {
    for (always, verdict) in [(true, "good"), (false, "bad")] {
        let port = free_port().unwrap();
        let server = server(always, &format!("http: 127.0.0.1:{port}")).await;
        let operator = Operator::at(&server.url()).await.unwrap();
        let (_, findings) = doctor(&operator, &[("NATS_MONITOR_URL", &format!("http://127.0.0.1:{port}"))]).await;
        let (found, said) = finding(&findings, "sync_interval");
        assert_eq!(found, verdict, "{said}");
        assert!(always || said.contains("2m: a power cut loses") && said.contains("sync_interval: always"), "{said}");
        assert_eq!(finding(&findings, "streams").0, "unknown", "an orchestrator makes them");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_the_mend() {
    let users = "no_auth_user: nobody, authorization { users: [
        {user: nobody, password: secret, permissions: {publish: [\"$JS.API.INFO\"], subscribe: [ready, \"_INBOX.>\"]}}
        {user: all, password: secret}
        {user: reader, password: secret, permissions: {publish: {deny: [\"control.>\"]}}}
    ] }";
    let server = server(true, users).await;
    let operator = Operator::at(&server.url()).await.unwrap();
    let (status, findings) = doctor(&operator, &[]).await;
    assert_eq!((status, finding(&findings, "rights").0), (1, "bad"), "{findings}");
    let nowhere = Operator::at("nats://127.0.0.1:1").await.unwrap();
    let (status, findings) = doctor(&nowhere, &[]).await;
    assert_eq!((status, finding(&findings, "broker").0), (1, "bad"), "{findings}");

    let me = |user| [("NATS_USER", user), ("NATS_PASSWORD", "secret")];
    let mut made = operator.command(&["poll", "--no-wait"]);
    made.envs(me("all"));
    assert_eq!(Said::of(made).await.unwrap().status, 0, "this makes the streams");
    assert_eq!(finding(&doctor(&operator, &me("all")).await.1, "rights").0, "good");
    // How often the streams are kept is not for this terminal to say.
    let elsewhere: Vec<_> = me("all").into_iter().chain([("REPLICAS", "3")]).collect();
    assert_eq!(finding(&doctor(&operator, &elsewhere).await.1, "streams").0, "good");
    let mut status = operator.command(&["status"]);
    status.envs([("NATS_USER", "all"), ("NATS_PASSWORD", "wrong")]);
    let said = Said::of(status).await.unwrap();
    assert!(said.status == 2 && said.stderr.contains("refuses these credentials"), "{said:?}");
    let wrong = [
        ("MCP_COMMAND", "cat"),
        ("NPM_REGISTRY", "http://127.0.0.1:1"),
        ("WORKSPACE_ROOT", operator.home().to_str().unwrap()),
    ];
    let settings: Vec<_> = me("reader").into_iter().chain(wrong).collect();
    let (status, findings) = doctor(&operator, &settings).await;
    assert_eq!(status, 1);
    for (about, said) in [
        ("rights", "may not publish on control.doctor"),
        ("catalogue", "mend MCP_COMMAND"),
        ("registry", "http://127.0.0.1:1: "),
        ("workspace", "package.json"),
    ] {
        let (verdict, text) = finding(&findings, about);
        assert!(verdict == "bad" && text.contains(said), "{about}: {verdict}, {text}");
    }
    assert_eq!(finding(&findings, "line").0, "unknown", "no orchestrator leads");
    let home = operator.home().to_str().unwrap();
    for (variable, value, said) in [
        ("npm_config_registry", "http://127.0.0.1:9", "http://127.0.0.1:9: ".to_owned()),
        ("npm_config_userconfig", home, format!("npm's user settings {home} cannot be read: ")),
    ] {
        let by_npm = [("NPM_REGISTRY", ""), ("WORKSPACE_ROOT", home), (variable, value)];
        let settings: Vec<_> = me("reader").into_iter().chain(by_npm).collect();
        let (_, findings) = doctor(&operator, &settings).await;
        let (verdict, text) = finding(&findings, "registry");
        assert!(verdict == "bad" && text.contains(&said), "{verdict}, {text}");
    }
}
