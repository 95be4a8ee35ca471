//! Tables of promises: each row ends with a file and the test in it.

use std::{fs, path::Path};

/// What is wrong with the rows of a table, from the first below its head: that there are fewer than `least`, those
/// that do not end with a file and a test, and those whose test is not in that file. Files are below `root`.
pub fn problems(root: &Path, table: &str, least: usize) -> Vec<String> {
    let rows = table.lines().filter_map(|line| line.trim_start_matches("//! ").strip_prefix("| ")).skip(1);
    let rows: Vec<&str> = rows.collect();
    if rows.len() < least {
        return vec![format!("{} rows instead of at least {least}", rows.len())];
    }
    rows.into_iter().filter_map(|row| problem(root, row)).collect()
}

fn problem(root: &Path, row: &str) -> Option<String> {
    let mut cells = row.trim_end().trim_end_matches('|').rsplit('|').map(str::trim);
    let mut quoted = || cells.next()?.strip_prefix('`')?.strip_suffix('`');
    let (Some(test), Some(file)) = (quoted(), quoted()) else {
        return Some(format!("a row ends with a file and a test: {row}"));
    };
    match fs::read_to_string(root.join(file)) {
        Ok(source) if source.contains(&format!("fn {test}(")) => None,
        Ok(_) => Some(format!("{file} has no test {test}")),
        Err(error) => Some(format!("{file}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_a_test_that_is_there_or_is_named() {
        let table = "//! | promise | file | test |\n//! |---|---|---|\n\
                     //! | `a` is so | `src/table.rs` | `a_row_names_a_test_that_is_there_or_is_named` |\n\
                     //! | gone | `src/table.rs` | `nobody_wrote_it` |\n//! | nowhere | `src/no.rs` | `x` |\n//! | said | – |\n";
        let found = problems(Path::new(env!("CARGO_MANIFEST_DIR")), table, 4);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert_eq!(found[0], "src/table.rs has no test nobody_wrote_it");
        assert!(found[1].starts_with("src/no.rs: "), "{found:#?}");
        assert_eq!(problems(Path::new("."), "//! no table\n", 1), ["0 rows instead of at least 1"]);
        assert_eq!(found[2], "a row ends with a file and a test: said | – |");
    }
}
