//! YAML, as the settings and lock files of pnpm and Yarn are written.

use serde_json::Value;

/// The longest file that is read, in bytes: lock files of thousands of packages are a few megabytes.
const LONGEST: usize = 64 * 1024 * 1024;

/// Reads a document. An empty one is null.
///
/// # Errors
/// One line that says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    if text.len() > LONGEST {
        return Err(format!("is larger than {} MiB", LONGEST / (1024 * 1024)));
    }
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| format!("is not YAML: {}", error.to_string().lines().next().unwrap_or_default()))
}

/// Writes a document, each list and each map in lines of its own: pnpm edits no other.
///
/// # Errors
/// One line that says what cannot be written.
pub fn to_yaml(value: &Value) -> Result<String, String> {
    serde_saphyr::to_string(value).map_err(|error| error.to_string())
}

/// Reads the last document of a file: pnpm writes what it needs itself into one before it.
///
/// # Errors
/// As [`parse`].
pub fn parse_last(text: &str) -> Result<Value, String> {
    let start = text.rfind("\n---\n").map_or(0, |at| at + "\n---\n".len());
    parse(text.get(start..).unwrap_or_default())
}

/// Lock files are large, and name each thing once.
fn options() -> serde_saphyr::Options {
    serde_saphyr::Options::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_read_and_no_bomb_is_unfolded() {
        let read =
            parse("packages:\n  - 'packages/*'\n  - \"!**/test/**\"\ncatalog: {react: ^19.0.0}\n# note\n").unwrap();
        assert_eq!(read, json!({"packages": ["packages/*", "!**/test/**"], "catalog": {"react": "^19.0.0"}}));
        assert_eq!(parse("").unwrap(), Value::Null);
        assert_eq!(parse("a: &x {b: 1}\nc: *x\n").unwrap(), json!({"a": {"b": 1}, "c": {"b": 1}}));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let all = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{all}]\n"));
        }
        let error = parse(&bomb).unwrap_err();
        assert!(error.starts_with("is not YAML: ") && !error.contains('\n'), "{error}");
        assert!(parse("a: [").unwrap_err().starts_with("is not YAML: "));
    }

    #[test]
    fn what_is_written_is_read_again_and_is_in_lines() {
        let value = json!({
            "packages": ["packages/*", "!**/test/**", "@a/b"], "a": {"b": "yes", "c": true, "d": 1}, "e": [], "f": "1.0",
            "g": "x: y # z", "h": {},
        });
        let text = to_yaml(&value).unwrap();
        assert_eq!(parse(&text).unwrap(), value, "{text}");
        assert!(text.contains("packages:\n"), "{text}");
    }

    #[test]
    fn a_lock_file_of_many_packages_is_read() {
        let mut lock = "lockfileVersion: '9.0'\nsnapshots:\n".to_owned();
        for number in 0..20_000 {
            lock.push_str(&format!(
                "  'p{number}@1.0.0':\n    dependencies:\n      a: 1.0.0\n      b: link:packages/b\n"
            ));
        }
        let read = parse(&lock).unwrap();
        assert_eq!(read["snapshots"].as_object().unwrap().len(), 20_000);
    }
}
