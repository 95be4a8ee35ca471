//! The table at the end: packages, why those that are not published are not, and what to know of the others.

use std::collections::{BTreeMap, HashMap};

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use packline_domain::text::counted;

use super::{board::Board, remarks, standing::Standing, standings::Standings};

/// Room that most terminals have.
const WIDTH: u16 = 100;

/// Names in one row.
const NAMED: usize = 10;

/// The table of these packages, as text; `wanted` holds the versions that they should have, where that is known. Packages
/// that are not published for one and the same reason share a row. What failed comes first, and what waits for it last.
pub(crate) fn table<'a>(
    names: impl IntoIterator<Item = &'a str>,
    board: &Board,
    wanted: &BTreeMap<String, Option<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["package", "outcome", "attempts", "version", "reason"]);
    let standings = Standings::of(board);
    let mut rows: Vec<(Vec<&str>, [String; 4])> = Vec::new();
    let mut places: HashMap<[String; 4], usize> = HashMap::new();
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|name| rank(standings.get(name)));
    let mut blocked: HashMap<&str, usize> = HashMap::new();
    for (blocker, _) in names.iter().filter_map(|name| standings.blocker(name)) {
        *blocked.entry(blocker).or_default() += 1;
    }
    for name in names {
        let standing = standings.get(name);
        let mut cells = cells(name, &standings, board, wanted.get(name).and_then(Option::as_deref));
        if let ([.., reason], Some(count)) = (&mut cells, blocked.get(name)) {
            reason.push_str(&format!("; blocks {}", counted(*count, "package")));
        }
        let is_shared = standing.is_some_and(|standing| !matches!(standing, Standing::Published { .. }));
        let place = places.get(&cells).filter(|_| is_shared);
        if let Some((names, _)) = place.and_then(|place| rows.get_mut(*place)) {
            names.push(name);
            continue;
        }
        places.insert(cells.clone(), rows.len());
        rows.push((vec![name], cells));
    }
    for (names, cells) in rows {
        let more = names.len().checked_sub(NAMED).filter(|more| *more > 0).map(|more| format!("and {more} more"));
        let shown: Vec<&str> = names.into_iter().take(NAMED).chain(more.as_deref()).collect();
        table.add_row(std::iter::once(shown.join("\n")).chain(cells));
    }
    table.to_string()
}

/// Where a row stands among the others.
fn rank(standing: Option<&Standing>) -> u8 {
    match standing {
        Some(Standing::Failed { .. }) => 0,
        Some(Standing::Unresolvable { .. }) => 1,
        Some(Standing::Cancelled) => 2,
        Some(Standing::Blocked { .. }) => 4,
        Some(Standing::Published { .. }) => 5,
        _ => 3,
    }
}

/// What the table says of a package, without its name.
fn cells(name: &str, standings: &Standings<'_>, board: &Board, wanted: Option<&str>) -> [String; 4] {
    let standing = standings.get(name);
    let version = match standing {
        Some(Standing::Published { version: Some(version), .. }) => version.as_str(),
        _ => "",
    };
    let reason = match (standing, wanted) {
        (None, _) => "never reached the queue".to_owned(),
        (Some(standing @ Standing::Published { private, .. }), Some(wanted))
            if !standing.is_published_as(Some(wanted)) =>
        {
            format!("{wanted} is not {}", if *private { "built" } else { "published" })
        }
        (Some(Standing::Published { .. }), _) => remarks::of(name, board),
        (Some(standing), _) => match standings.blocker(name) {
            Some((on, stands)) => format!("needs {on}, which is {}", stands.word()),
            None => standing.to_string(),
        },
    };
    let outcome = standing.map_or("unknown", Standing::word);
    [outcome.to_owned(), board.attempts(name).to_string(), version.to_owned(), reason]
}

#[cfg(test)]
mod tests {
    use packline_domain::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn packages_that_fail_for_one_reason_share_a_row() {
        let mut board = Board::default();
        let mut note = |name: &str, needs: &[&str], state: Value| {
            let time = Timestamp::from_millis(0).to_string();
            let mut record = json!({ "package": { "name": name, "dependencies": needs }, "arrival": 1, "commit": 1,
                "queuedAt": time, "announcedAt": time });
            record.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
            board.note(&format!("queue.{name}"), Some(record.to_string().as_bytes())).unwrap();
        };
        let failed = |error: &str| json!({ "state": "failed", "error": error, "failedPhase": "install" });
        for name in ["a", "c", "d"] {
            note(name, &[], failed("the install of the workspace failed: ETARGET"));
        }
        note("b", &[], failed("npm ci ended with 1"));
        note("0", &["e"], json!({ "state": "queued" }));
        note("e", &["b"], json!({ "state": "queued" }));
        note("f", &["b"], json!({ "state": "queued" }));
        for name in ["g", "h"] {
            note(name, &[], json!({ "state": "published", "version": "1.0.0" }));
        }
        let text = table(["0", "a", "b", "c", "d", "e", "f", "g", "h"], &board, &BTreeMap::new());
        assert_eq!(text.matches("ETARGET").count(), 1, "{text}");
        assert_eq!(text.matches("needs b, which is failed").count(), 1, "{text}");
        assert_eq!(text.matches("npm ci ended with 1; blocks 3 packages").count(), 1, "{text}");
        assert_eq!(text.matches("1.0.0").count(), 2, "those that are published stand alone: {text}");
        let order: Vec<char> =
            text.lines().skip(3).filter_map(|line| line.chars().nth(2)).filter(char::is_ascii_alphanumeric).collect();
        assert_eq!(order.iter().collect::<String>(), "acdb0efgh", "{text}");
    }
}
