//! The table at the end: packages, and why those that are not published are not.

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use super::{board::Board, standing::Standing};

/// Room that most terminals have.
const WIDTH: u16 = 100;

/// The table of these packages, as text.
pub(crate) fn table<'a>(names: impl IntoIterator<Item = &'a str>, board: &Board) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["package", "outcome", "attempts", "version", "reason"]);
    for text in names {
        let name = board.queue.keys().find(|known| known.as_str() == text);
        let standing = name.and_then(|name| Standing::of(name, board));
        let attempts = name.map_or(0, |name| board.attempts(name));
        let version = match &standing {
            Some(Standing::Published { version: Some(version) }) => version.as_str(),
            _ => "",
        };
        table.add_row([
            text,
            standing.as_ref().map_or("unknown", Standing::word),
            &attempts.to_string(),
            version,
            &standing.as_ref().map_or_else(|| "never reached the queue".to_owned(), ToString::to_string),
        ]);
    }
    table.to_string()
}
