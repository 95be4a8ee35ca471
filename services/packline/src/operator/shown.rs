//! How things are written for a person.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use packline_domain::Timestamp;
pub(crate) use packline_domain::text::counted;

use crate::now;

/// `47s`, `12m`, `3h 5m`: the two largest units.
pub(crate) fn span(seconds: u64) -> String {
    let rounded = match seconds {
        0..600 => seconds,
        600..86_400 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    };
    humantime::format_duration(Duration::from_secs(rounded)).to_string()
}

/// Seconds since then.
pub(crate) fn since(at: Timestamp) -> u64 {
    elapsed(at).as_secs()
}

/// The time since then.
pub(crate) fn elapsed(at: Timestamp) -> Duration {
    now().since(at)
}

/// How long ago that was.
pub(crate) fn ago(at: Timestamp) -> String {
    format!("{} ago", span(since(at)))
}

/// Columns without lines, as wide as the terminal or, in a pipe, as what is in them.
pub(crate) fn columns<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head);
    for row in rows {
        table.add_row(row.map(|cell| plain(&cell)));
    }
    let text = table.to_string();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}

/// What strangers wrote moves no cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, shown) in
            [(0, "0s"), (47, "47s"), (599, "9m 59s"), (745, "12m"), (11_130, "3h 5m"), (266_400, "3days 2h")]
        {
            assert_eq!(span(seconds), shown);
        }
    }

    #[test]
    fn columns_have_no_frame_and_no_control_characters() {
        let rows = [["@acme/core".to_owned(), "x\u{1b}[2J\n".to_owned()]];
        assert_eq!(columns(["package", "why"], rows), "package     why\n@acme/core  x [2J");
    }
}
