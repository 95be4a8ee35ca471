//! The table at the end: packages, why those that are not published are not, and what to know of the others.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use super::{board::Board, remarks, standing::Standing, standings::Standings};

/// Room that most terminals have.
const WIDTH: u16 = 100;

/// The table of these packages, as text; `wanted` holds the versions that they should have, where that is known.
pub(crate) fn table<'a>(
    names: impl IntoIterator<Item = &'a str>,
    board: &Board,
    wanted: &BTreeMap<String, Option<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["package", "outcome", "attempts", "version", "reason"]);
    let standings = Standings::of(board);
    for name in names {
        let standing = standings.get(name);
        let version = match standing {
            Some(Standing::Published { version: Some(version), .. }) => version.as_str(),
            _ => "",
        };
        table.add_row([
            name,
            standing.map_or("unknown", Standing::word),
            &board.attempts(name).to_string(),
            version,
            &match (standing, wanted.get(name).and_then(Option::as_deref)) {
                (None, _) => "never reached the queue".to_owned(),
                (Some(standing @ Standing::Published { private, .. }), Some(wanted))
                    if !standing.is_published_as(Some(wanted)) =>
                {
                    format!("{wanted} is not {}", if *private { "built" } else { "published" })
                }
                (Some(Standing::Published { .. }), _) => remarks::of(name, board),
                (Some(standing), _) => standing.to_string(),
            },
        ]);
    }
    table.to_string()
}
