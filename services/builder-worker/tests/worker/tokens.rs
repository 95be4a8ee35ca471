//! A token is sent to the registry that it was configured for, and shown to nobody.

use packline_domain::Outcome;
use packline_testkit::stand_in::StandIn;
use serde_json::json;

use crate::publisher::{Publisher, TOKEN, worker};

/// `user:of-acme` in base64, and the password alone.
const LOGIN: &str = "dXNlcjpvZi1hY21l";
const PASSWORD: &str = "b2YtYWNtZQ==";

/// npm's settings with one thing each that opens one of the registries.
fn npmrc(token: &StandIn, login: &StandIn, password: &StandIn) -> String {
    let place = |registry: &StandIn| registry.url().strip_prefix("http:").unwrap().to_owned();
    format!(
        "@scoped:registry={url}/\n{token}/:_authToken=s3cret-token-of-npm\n{login}/:_auth={LOGIN}\n\
         {password}/:username=user\n{password}/:_password={PASSWORD}\n_authToken=s3cret-of-no-registry\n",
        url = token.url(),
        token = place(token),
        login = place(login),
        password = place(password),
    )
}

/// What opens the registry in each request that came so far: the same in all.
fn authorization(registry: &StandIn) -> Option<String> {
    let requests = registry.requests();
    let mut all: Vec<_> = requests.iter().map(|request| request.header("authorization").map(str::to_owned)).collect();
    assert!(requests.iter().any(|request| request.method == "PUT"), "{requests:?}");
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop().unwrap()
}

#[tokio::test]
async fn a_token_is_sent_to_the_registry_that_it_was_configured_for_and_to_no_other() {
    let (token, login, password) = (StandIn::start().await, StandIn::start().await, StandIn::start().await);
    let (open, scoped) = (StandIn::start().await, &token);
    let mut publisher = Publisher::start(&npmrc(&token, &login, &password), &[]).await;
    let own = format!("Bearer {TOKEN}");
    let basic = format!("Basic {LOGIN}");
    for (registry, expected) in [
        (&token, Some("Bearer s3cret-token-of-npm")),
        (&login, Some(&*basic)),
        (&password, Some(&*basic)),
        (&open, None),
    ] {
        // As a script that reads the settings of the worker's user.
        let npmrc = publisher.foreman.folder().join("npmrc-of-one").display().to_string();
        publisher.package(
            "core",
            "1.0.0",
            json!({"scripts": {"prepack": format!("cat {npmrc}; echo $NPM_TOKEN.")}}),
            "1",
        );
        let result = publisher.build("core", |order| order.config.registry = Some(registry.url())).await;
        assert_eq!(result.outcome, Outcome::Published, "{result:?}");
        assert_eq!(authorization(registry).as_deref(), expected);
        let log = publisher.foreman.log_until(&result.build_id, "publish| .").await;
        assert!(log.contains("/:_authToken=***") && log.contains("/:_auth=***"), "{log}");
        for secret in ["s3cret", LOGIN, PASSWORD] {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
    }
    let before = scoped.requests().len();
    let result = publisher.publish("@scoped/core", None).await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    assert_eq!(scoped.requests().len(), before + 3, "the registry of the scope");
    assert_eq!(authorization(scoped).as_deref(), Some("Bearer s3cret-token-of-npm"));
    assert!(publisher.registry.requests().is_empty());

    let result = publisher.publish("core", None).await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    assert_eq!(authorization(&publisher.registry), Some(own));
}

#[tokio::test]
async fn the_token_of_the_worker_goes_before_that_of_npm_and_a_command_has_it_for_its_own_registry_alone() {
    let (own, other) = (StandIn::start().await, StandIn::start().await);
    let mut publisher = Publisher::start("", &[]).await;
    let place = own.url().strip_prefix("http:").unwrap().to_owned();
    let npmrc = format!("{place}/:_authToken=s3cret-token-of-npm\n");
    publisher.worker = worker(&publisher.foreman, "two", &own, &npmrc, &[]);
    let result = publisher.publish("core", None).await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    assert_eq!(authorization(&own), Some(format!("Bearer {TOKEN}")));

    let run = "echo \\\"token: ${NPM_TOKEN:-none}.\\\"; cat \\\"$npm_config_userconfig\\\"; echo end";
    let recipe = format!("[[phase]]\nname = \"publish\"\nrun = [\"sh\", \"-c\", \"{run}\"]\n");
    let recipe_file = publisher.foreman.folder().join("command.toml");
    std::fs::write(&recipe_file, recipe).unwrap();
    publisher.worker =
        worker(&publisher.foreman, "three", &own, &npmrc, &[("RECIPE", &recipe_file.display().to_string())]);
    for (registry, shown) in [(None, "***"), (Some(own.url()), "***"), (Some(other.url()), "none")] {
        let result = publisher.publish("core", registry.as_deref()).await;
        assert_eq!(result.outcome, Outcome::Published, "{result:?}");
        let log = publisher.foreman.log_until(&result.build_id, "publish| end").await;
        assert!(log.contains(&format!("publish| token: {shown}.")), "{registry:?}: {log}");
        assert!(!log.contains("s3cret"), "{log}");
    }
}
