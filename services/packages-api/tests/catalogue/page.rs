//! What people see.

use std::time::{SystemTime, UNIX_EPOCH};

use packline_domain::Package;
use packline_packages_api::store::{Status, Store};
use packline_testkit::http::stranger;
use reqwest::StatusCode;
use serde_json::json;

use crate::served::Served;

async fn get(served: &Served, query: &str) -> String {
    let answer = stranger().get(format!("{}{query}", served.page())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{query}");
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert!(answer.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    answer.text().await.unwrap()
}

fn add(store: &Store, name: &str) {
    store.add(&Package::named(name.parse().unwrap())).unwrap();
}

/// Returns when the clock shows another millisecond: changes of one and the same have no order.
fn the_next_millisecond() {
    let millis = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let began = millis();
    while millis() == began {
        std::thread::yield_now();
    }
}

/// The names in the table, from above.
fn rows(page: &str) -> Vec<&str> {
    page.split("<tr><td>").skip(1).map(|row| row.split("</td>").next().unwrap()).collect()
}

#[tokio::test]
async fn the_page_counts_by_status_and_lists_what_changed_last_first() {
    let served = Served::start(&[]).await;
    assert!(get(&served, "").await.contains("packages-api scan DIR"), "an empty catalogue says how to fill it");
    let store = Store::open(&served.database).unwrap();
    for name in ["@acme/base", "@acme/app", "@acme/tool", "lodash.merge"] {
        add(&store, name);
    }
    let metadata = json!({"error": "tests failed", "failedPhase": "test", "attempts": 3, "buildId": "acme/app.7"});
    the_next_millisecond();
    store.update("@acme/base", Status::Published, None).unwrap();
    the_next_millisecond();
    store.update("@acme/app", Status::Failed, metadata.as_object()).unwrap();
    let page = get(&served, "").await;
    assert_eq!(rows(&page)[..2], ["@acme/app", "@acme/base"]);
    for said in ["all 4", "failed 1", "building 0", "ready 2", "published 1"] {
        assert!(page.contains(&format!(">{said}</a>")), "{said}: {page}");
    }
    assert!(page.contains("tests failed · in test · attempts: 3 · build acme/app.7"), "{page}");
    assert_eq!(rows(&get(&served, "?status=failed").await), ["@acme/app"]);
    assert_eq!(rows(&get(&served, "?name=merge").await), ["lodash.merge"]);
    assert_eq!(rows(&get(&served, "?status=ready&name=acme").await), ["@acme/tool"]);
    assert!(get(&served, "?status=building").await.contains("No package is like that."));
}

#[tokio::test]
async fn a_private_package_that_was_built_is_not_shown_as_published() {
    let served = Served::start(&[]).await;
    let store = Store::open(&served.database).unwrap();
    for (name, private) in [("@acme/own", json!(true)), ("@acme/open", json!(false)), ("@acme/odd", json!("yes"))] {
        add(&store, name);
        store.update(name, Status::Published, json!({"attempts": 1, "private": private}).as_object()).unwrap();
    }
    add(&store, "@acme/again");
    store.update("@acme/again", Status::Building, json!({"private": true}).as_object()).unwrap();
    let page = get(&served, "").await;
    for (name, status, shown) in [
        ("@acme/own", "published", "built (private)"),
        ("@acme/open", "published", "published"),
        ("@acme/odd", "published", "published"),
        ("@acme/again", "building", "building"),
    ] {
        let row = format!("<td>{name}</td><td class=\"{status}\">{shown}</td>");
        assert!(page.contains(&row), "{row}: {page}");
    }
    assert_eq!(rows(&get(&served, "?status=published").await).len(), 3, "published is what the catalogue calls it");
}

#[tokio::test]
async fn what_stood_for_the_tests_of_a_package_is_said() {
    let served = Served::start(&[]).await;
    let store = Store::open(&served.database).unwrap();
    for (name, tests) in [("root", json!("rootNotRun")), ("stub", json!("noTest")), ("odd", json!(["<b>"]))] {
        add(&store, name);
        store.update(name, Status::Published, json!({"attempts": 1, "tests": tests}).as_object()).unwrap();
    }
    let page = get(&served, "").await;
    for said in ["tests only at the root, not run · attempts: 1<", "no tests · attempts: 1<", ">attempts: 1<"] {
        assert_eq!(page.matches(said).count(), 1, "{said}: {page}");
    }
}

#[tokio::test]
async fn a_large_catalogue_is_shown_in_pages_that_name_each_package_once() {
    let served = Served::start(&[]).await;
    let store = Store::open(&served.database).unwrap();
    let packages: Vec<Package> = (0..250).map(|n| Package::named(format!("p{n}").parse().unwrap())).collect();
    store.merge(&packages).unwrap();
    let (mut query, mut seen, mut sizes) = (String::new(), Vec::new(), Vec::new());
    loop {
        let page = get(&served, &query).await;
        sizes.push(rows(&page).len());
        seen.extend(rows(&page).into_iter().map(str::to_owned));
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else { break };
        query = before.rsplit("href=\"").next().unwrap().replace("&amp;", "&");
    }
    assert_eq!(sizes, [100, 100, 50]);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 250);
}

#[tokio::test]
async fn nothing_that_strangers_wrote_becomes_part_of_the_page() {
    let served = Served::start(&[]).await;
    let store = Store::open(&served.database).unwrap();
    let evil = "</td></table><script>alert(1)</script><img src=x onerror='alert(1)' \"&amp;";
    let mut package = Package::named("evil".parse().unwrap());
    package.category = evil.into();
    store.add(&package).unwrap();
    let metadata = json!({"error": evil, "failedPhase": [evil], "attempts": {evil: 1}, "buildId": evil, evil: evil});
    store.update("evil", Status::Failed, metadata.as_object()).unwrap();
    add(&store, "long");
    let long = json!({"error": "é<".repeat(100_000)});
    store.update("long", Status::Failed, long.as_object()).unwrap();

    let quoted = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    for query in ["", &format!("?name={quoted}"), "?name=evil%00", "?name=%22onfocus=%22x"] {
        let page = get(&served, query).await;
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("\"onfocus"), "{page}");
        assert!(page.len() < 50_000, "what is shown of an error is bounded");
    }
    assert!(get(&served, "").await.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    for query in [format!("?status={quoted}"), format!("?after={quoted}"), "?status=%FF".into(), "?after=1".into()] {
        let answer = stranger().get(format!("{}{query}", served.page())).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"), "{query}");
    }
}
