//! The table at the end: packages, why those that are not published are not, and what to know of the others.

use std::collections::{BTreeMap, HashMap};

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use super::{board::Board, remarks, standing::Standing, standings::Standings};

/// Room that most terminals have.
const WIDTH: u16 = 100;

/// The table of these packages, as text; `wanted` holds the versions that they should have, where that is known. Packages
/// that are not published for one and the same reason share a row.
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
    for name in names {
        let standing = standings.get(name);
        let cells = cells(name, standing, board, wanted.get(name).and_then(Option::as_deref));
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
        table.add_row(std::iter::once(names.join("\n")).chain(cells));
    }
    table.to_string()
}

/// What the table says of a package, without its name.
fn cells(name: &str, standing: Option<&Standing>, board: &Board, wanted: Option<&str>) -> [String; 4] {
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
        (Some(standing), _) => standing.to_string(),
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
        note("e", &["b"], json!({ "state": "queued" }));
        note("f", &["b"], json!({ "state": "queued" }));
        for name in ["g", "h"] {
            note(name, &[], json!({ "state": "published", "version": "1.0.0" }));
        }
        let text = table(["a", "b", "c", "d", "e", "f", "g", "h"], &board, &BTreeMap::new());
        assert_eq!(text.matches("ETARGET").count(), 1, "{text}");
        assert_eq!(text.matches("needs b, which is failed").count(), 1, "{text}");
        assert_eq!(text.matches("1.0.0").count(), 2, "those that are published stand alone: {text}");
        let order: Vec<char> =
            text.lines().skip(3).filter_map(|line| line.chars().nth(2)).filter(char::is_ascii_lowercase).collect();
        assert_eq!(order.iter().collect::<String>(), "acdbefgh", "{text}");
    }
}
