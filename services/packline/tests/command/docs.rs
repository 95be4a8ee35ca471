//! The documentation and the code agree: laws that are cited exist, JSON is that of the golden tests, links lead
//! somewhere, and tables list the names, settings, metrics, commands and crates that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory};
use packline_broker::{BucketName, StreamName, topology};
use packline_service::metric::{Kind, METRICS};
use serde_json::Value;

/// What is kept in folders of these names is nobody's source.
const NOT_SOURCE: [&str; 4] = ["target", ".git", "node_modules", ".packline"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Every file of the source below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            found.push(path);
        } else if !path.is_symlink() && !NOT_SOURCE.contains(&name(&path).as_str()) {
            found.extend(files(&path));
        }
    }
    found
}

/// README.md and every page of the documentation.
fn pages() -> BTreeMap<PathBuf, String> {
    let docs = files(&root().join("docs")).into_iter().filter(|path| path.extension().is_some_and(|e| e == "md"));
    docs.chain([root().join("README.md")]).map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The cells of the first table below a heading, without its head.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let below = text.lines().skip_while(|line| *line != heading).skip(1);
    let rows = below.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).skip(2);
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "{page} has no table below {heading}");
    rows
}

fn cells(row: &str) -> Vec<String> {
    row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What each row says between backticks in one of its cells.
fn column(rows: &[Vec<String>], place: usize) -> Vec<String> {
    rows.iter().filter_map(|row| row.get(place)).flat_map(|cell| quoted(cell)).collect()
}

fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    items.into_iter().collect()
}

/// A number at the start of a word, with a letter for a part of it, and whether that is the whole word.
fn number(word: &str) -> Option<(String, bool)> {
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let (number, rest) = word.split_at(digits);
    let part = rest.chars().next().filter(|c| ('a'..='d').contains(c) && digits > 0);
    let rest = part.map_or(rest, |part| rest.trim_start_matches(part));
    let is_number = digits > 0 && !rest.starts_with(|c: char| c.is_alphanumeric());
    is_number.then(|| (number.chars().chain(part).collect(), rest.is_empty()))
}

/// The laws that a text cites: `law 6`, `law 5c`, `laws 2 and 3`, `laws 2 to 9`.
fn cited(text: &str) -> Vec<String> {
    // A comment may break between the word and the number.
    let lines = text.lines().map(|line| line.trim().trim_start_matches(['/', '!', '#', '*']));
    let text = lines.collect::<Vec<_>>().join(" ");
    let mut words = text.split_whitespace().peekable();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let word = word.trim_start_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
        let several = word == "laws";
        if word != "law" && !several {
            continue;
        }
        while let Some((law, whole)) = words.peek().copied().and_then(number) {
            found.push(law);
            words.next();
            if !several || !whole || words.next_if(|word| ["and", "or", "to"].contains(word)).is_none() {
                break;
            }
        }
    }
    found
}

#[test]
fn every_law_that_is_cited_exists_and_they_are_numbered_without_gaps() {
    let text = read("docs/design/laws.md");
    let lines: Vec<&str> = text.lines().collect();
    let mut anchors: BTreeSet<String> = lines.iter().filter_map(|line| anchor(line)).collect();
    let mut laws = Vec::new();
    for pair in lines.windows(2) {
        if let Some(heading) = pair[1].strip_prefix("## Law ") {
            let (number, title) = heading.split_once(": ").unwrap_or_else(|| panic!("{heading} has no title"));
            assert_eq!(anchor(pair[0]), Some(format!("law-{number}")), "the anchor is right above {heading}");
            assert!(!title.is_empty());
            laws.push(number.to_owned());
        }
    }
    let numbered: Vec<String> = (1..=laws.len()).map(|number| number.to_string()).collect();
    assert_eq!(laws, numbered);
    anchors.retain(|anchor| anchor.starts_with("law-"));
    let mut citations = 0;
    for path in files(&root()) {
        let citing = [".rs", ".md", ".toml", ".yml", ".sh"];
        let file = name(&path);
        if file != "Dockerfile" && !citing.iter().any(|end| file.ends_with(end)) {
            continue;
        }
        for law in cited(&fs::read_to_string(&path).unwrap()) {
            citations += 1;
            assert!(anchors.contains(&format!("law-{law}")), "{} cites law {law}, which is none", path.display());
        }
    }
    assert!(citations > 40, "only {citations} citations are found");
}

#[test]
fn citations_are_found_in_all_their_forms() {
    let found = |text: &str| cited(text).join(" ");
    assert_eq!(found("/// As is (law 5c). By laws 2 and 3; by [law 6](laws.md#law-6), see Law 1: so"), "5c 2 3 6 1");
    assert_eq!(found("//! what stands (law\n//! 8), laws 2 to 9 and 10 records"), "8 2 9 10");
    assert_eq!(found("a law, the laws, law N, lawful 7, law 6 and 900 records, (laws 3), 150"), "6 3");
}

/// The anchor that a line is.
fn anchor(line: &str) -> Option<String> {
    Some(line.strip_prefix("<a id=\"")?.strip_suffix("\"></a>")?.to_owned())
}

fn golden() -> BTreeMap<String, Value> {
    let folder = root().join("libs/domain/tests/snapshots");
    let snapshots = files(&folder).into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let json = text.splitn(3, "---\n").nth(2).unwrap();
        (name(&path).trim_end_matches(".snap").to_owned(), serde_json::from_str(json).unwrap())
    });
    snapshots.collect()
}

#[test]
fn every_json_block_is_a_golden_snapshot_and_all_of_them_are_shown() {
    let golden = golden();
    let mut shown = BTreeSet::new();
    for (path, text) in pages() {
        let page = path.display();
        let mut before = "";
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let marked = before.strip_prefix("<!-- snapshot: ").and_then(|rest| rest.strip_suffix(" -->"));
            if line == "```json" {
                let json: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                let name = marked.unwrap_or_else(|| panic!("{page}: JSON that is not marked: {json:#?}"));
                let found: Value = serde_json::from_str(&json.join("\n")).unwrap();
                let golden = golden.get(name).unwrap_or_else(|| panic!("{page}: there is no snapshot {name}"));
                assert_eq!(found, *golden, "{page}: {name}");
                shown.insert(name.to_owned());
            } else {
                assert_eq!(marked, None, "{page}: a mark without JSON");
            }
            before = line;
        }
    }
    let missing: Vec<&String> = golden.keys().filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty(), "no page shows {missing:?}");
}

/// The lines of a page outside of its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// All anchors of a page: those of its headings, as forges make them, and those that it sets itself.
fn anchors(text: &str) -> BTreeSet<String> {
    let slug = |heading: &str| -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    prose(text)
        .filter_map(|line| {
            let heading = line.trim_start_matches('#');
            if heading.len() < line.len() { Some(slug(heading.trim())) } else { anchor(line) }
        })
        .collect()
}

/// The targets of a page's links.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text).collect::<Vec<_>>().join("\n");
    let without_code: String = prose.split('`').step_by(2).collect();
    without_code.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

#[test]
fn every_link_of_the_documentation_leads_to_a_file_and_an_anchor_that_exist() {
    let mut followed = 0;
    for (path, text) in pages() {
        for link in links(&text).iter().filter(|link| !link.contains("://")) {
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if let Some(anchor) = anchor {
                let found = anchors(&fs::read_to_string(&target).unwrap());
                assert!(found.contains(anchor), "{}: {link} has no such anchor: {found:#?}", path.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 60, "only {followed} links are found");
}

#[test]
fn every_page_of_the_documentation_is_in_its_index() {
    let index = root().join("docs/README.md");
    let linked = sorted(links(&read("docs/README.md")).iter().filter_map(|link| {
        let file = link.split('#').next().unwrap_or_default();
        root().join("docs").join(file).canonicalize().ok()
    }));
    for path in pages().into_keys().filter(|path| *path != index) {
        assert!(linked.contains(&path), "docs/README.md has no link to {}", path.display());
    }
}

#[test]
fn streams_durables_buckets_and_questions_are_those_of_the_topology() {
    let page = "docs/reference/subjects-and-streams.md";
    let streams = table(page, "## Streams");
    assert_eq!(column(&streams, 0), StreamName::ALL.map(StreamName::as_str));
    assert_eq!(column(&streams, 1), StreamName::ALL.map(StreamName::subject));
    let durables = table(page, "## Durable consumers");
    let names = [topology::ORCHESTRATOR, topology::BUILDERS, topology::CATALOGUE, topology::POLLER];
    assert_eq!(sorted(column(&durables, 0)), sorted(names.map(str::to_owned)));
    let known = StreamName::ALL.map(StreamName::as_str);
    assert!(column(&durables, 1).iter().all(|stream| known.contains(&stream.as_str())), "{durables:?}");
    let buckets = table("docs/reference/buckets.md", "## Buckets");
    assert_eq!(column(&buckets, 0), BucketName::ALL.map(BucketName::as_str));
    let questions = table("docs/reference/questions.md", "# Questions");
    assert_eq!(column(&questions, 0), [topology::STATE, topology::QUEUE, topology::WHY, topology::HISTORY]);
}

/// The variable, the flag and the default of a setting.
type Setting = [String; 3];

/// The settings of a program, as `--help` says them.
fn settings(command: &Command) -> BTreeSet<Setting> {
    let settings = command.get_arguments().filter_map(|argument| {
        let (variable, flag) = (argument.get_env()?.to_str()?.to_owned(), format!("--{}", argument.get_long()?));
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let told = help.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        let told = told.map(|(default, _)| default.to_owned());
        let default = argument.get_default_values().first().map(|default| default.to_string_lossy().into_owned());
        Some([variable, flag, default.or(told).unwrap_or_else(|| "–".to_owned())])
    });
    settings.collect()
}

#[test]
fn settings_and_their_defaults_are_those_of_the_programs() {
    let documented = |section: &str| -> BTreeSet<Setting> {
        let plain = |cell: &String| cell.replace('`', "");
        let rows = table("docs/reference/settings.md", section);
        rows.iter().map(|row| [plain(&row[0]), plain(&row[1]), plain(&row[2])]).collect()
    };
    let programs = [
        ("orchestrator", packline_orchestrator::Config::command(), true),
        ("poller", packline_poller::config::Config::command(), true),
        ("builder-worker", packline_builder_worker::Config::command(), true),
        ("packages-api", packline_packages_api::config::Config::command(), false),
    ];
    for (program, command, has_broker) in programs {
        let mut expected = documented("## All programs");
        expected.append(&mut documented(&format!("## {program}")));
        if has_broker {
            expected.append(&mut documented("## Broker"));
        }
        assert_eq!(settings(&command), expected, "{program}");
    }
}

#[test]
fn metrics_are_those_of_the_services() {
    let text = read("docs/operating/health.md");
    let rows = text.lines().filter(|line| line.starts_with("| `packline_")).map(cells);
    let documented = sorted(rows.map(|row| (quoted(&row[0]), row[1].clone(), quoted(&row[2]))));
    let metrics = METRICS.iter().map(|metric| {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(ToString::to_string).collect();
        (vec![metric.name.to_owned()], kind.to_owned(), labels)
    });
    assert_eq!(documented, sorted(metrics));
}

#[test]
fn commands_are_those_of_packline() {
    let rows = table("docs/operating/cli.md", "## Commands");
    let command = packline::Cli::command();
    let commands = command.get_subcommands().map(|command| command.get_name().to_owned());
    assert_eq!(sorted(column(&rows, 0)), sorted(commands));
}

#[test]
fn crates_use_those_that_the_overview_says() {
    let rows = table("docs/design/overview.md", "## The crates");
    let mut members: BTreeSet<PathBuf> = [root().join("tests")].into();
    for folder in ["libs", "services"] {
        let folders = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        members.extend(folders.filter(|folder| folder.join("Cargo.toml").is_file()));
    }
    let documented = sorted(column(&rows, 0).iter().map(|folder| root().join(folder)));
    assert_eq!(documented, members);
    for row in rows {
        let folder = quoted(&row[0]).join("");
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let (_, dependencies) = manifest.split_once("[dependencies]\n").unwrap();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default().lines();
        let ours = dependencies.filter_map(|line| Some(line.strip_prefix("packline-")?.split_once('.')?.0.to_owned()));
        assert_eq!(sorted(quoted(&row[2])), sorted(ours), "{folder}");
    }
}
