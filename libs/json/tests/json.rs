//! What is read, and what is said of what is not.

use packline_json::{MAX_DEPTH, parse};
use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

fn read(text: impl AsRef<[u8]>) -> Value {
    parse(text.as_ref()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_npm_reads_and_strict_json_has_not() {
    for (document, value) in [
        (&b"\xEF\xBB\xBF {\"a\": 1}\n"[..], json!({"a": 1})),
        (b"\"a\xFFb\"", json!("a\u{FFFD}b")),
        (b"{\"\xC3\": \"\xED\xA0\x80\"}", json!({"\u{FFFD}": "\u{FFFD}\u{FFFD}\u{FFFD}"})),
        (br#""cut \ud83d""#, json!("cut \u{FFFD}")),
        (br#""\ude00\ud83d""#, json!("\u{FFFD}\u{FFFD}")),
        (br#""\ud83d\u0041""#, json!("\u{FFFD}A")),
        (br#""\ud83d\ud83d\ude00""#, json!("\u{FFFD}\u{1F600}")),
        (br#""\ud83d\n""#, json!("\u{FFFD}\n")),
        (br#""\uD83D\uDE00 \u00e9""#, json!("\u{1F600} \u{e9}")),
        (br#"{"a": 1, "b": 2, "a": {"c": 3}}"#, json!({"a": {"c": 3}, "b": 2})),
        (b"[NaN, Infinity,-Infinity ,1e999,-1e999]", json!([null, null, null, null, null])),
        (br#"{"NaN": "NaN, -Infinity"}"#, json!({"NaN": "NaN, -Infinity"})),
        (br#"{"__proto__": 1, "$serde_json::private::RawValue": "[1"}"#, {
            json!({"__proto__": 1, "$serde_json::private::RawValue": "[1"})
        }),
    ] {
        assert_eq!(read(document), value, "{}", String::from_utf8_lossy(document));
    }
}

#[test]
fn numbers() {
    for (text, value) in [
        ("0", json!(0)),
        ("-0", json!(-0.0)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("18446744073709551616", json!(18_446_744_073_709_551_616_f64)),
        ("1.7976931348623157e308", json!(f64::MAX)),
        ("1E+2", json!(100.0)),
        ("5e-324", json!(5e-324)),
        ("1e-999", json!(0.0)),
    ] {
        assert_eq!(read(text), value, "{text}");
    }
}

#[test]
fn all_else_is_refused_with_its_place() {
    for (document, said) in [
        ("", "there is no JSON at line 1, column 1"),
        (" \n\t", "there is no JSON at line 2, column 2"),
        ("{\n  'a': 1}", "expected a key in double quotes, found '\\'' at line 2, column 3"),
        ("{\"a\": 1,}", "expected a key in double quotes, found '}' at line 1, column 9"),
        ("[1, 2,]", "expected a value, found ']' at line 1, column 7"),
        ("[1 2]", "expected `,` or `]`, found '2' at line 1, column 4"),
        ("{\"a\" 1}", "expected `:`, found '1' at line 1, column 6"),
        ("{\"é\": 1", "expected `,` or `}`, found the end of the document at line 1, column 8"),
        ("{\"a\": // b\n1}", "expected a value, found '/' at line 1, column 7"),
        ("null null", "expected the end of the document, found 'n' at line 1, column 6"),
        ("nul", "expected a value, found 'n' at line 1, column 1"),
        ("nan", "expected a value, found 'n' at line 1, column 1"),
        ("-NaN", "expected a digit, found 'N' at line 1, column 2"),
        ("+1", "expected a value, found '+' at line 1, column 1"),
        ("01", "expected the end of the document, found '1' at line 1, column 2"),
        ("01e999", "expected the end of the document, found '1' at line 1, column 2"),
        ("1.", "expected a digit, found the end of the document at line 1, column 3"),
        ("-", "expected a digit, found the end of the document at line 1, column 2"),
        ("\"a", "a string without an end at line 1, column 3"),
        ("\"a\nb\"", "a control character in a string that is not escaped at line 1, column 3"),
        (r#""\x41""#, "expected an escape like `\\n`, found 'x' at line 1, column 3"),
        (r#""\u00g0""#, "expected a hexadecimal digit, found 'g' at line 1, column 6"),
        ("\u{FEFF}\u{FEFF}1", "expected a value, found '\\u{feff}' at line 1, column 1"),
    ] {
        let error = parse(document.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), said, "{document}");
    }
}

#[test]
fn what_is_too_deep_is_null_and_all_around_it_is_read() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(read(nested(MAX_DEPTH)).to_string(), nested(MAX_DEPTH));
    let cut = nested(MAX_DEPTH).replacen("[]", "[null]", 1);
    for depth in [MAX_DEPTH + 1, 100_000] {
        assert_eq!(read(nested(depth)).to_string(), cut);
    }
    let around = |inner: &str| {
        let (open, end) = ("[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
        parse(format!("{{\"a\": {open}{inner}{end}, \"b\": 1}}").as_bytes())
    };
    let inner = r#"{"]}": "\ud83d \"é", "x": [{}, [1, "]"], NaN]}"#;
    assert_eq!(around(inner).unwrap(), around("null").unwrap());
    for (wrong, said) in
        [("[{]", "expected `}`, found ']'"), ("{", "expected `}`, found ']'"), ("[\"a]", "a string without an end")]
    {
        assert_eq!(around(wrong).unwrap_err().problem, said, "{wrong}");
    }
    let error = parse("[{\"a\":".repeat(1_000_000).as_bytes()).unwrap_err();
    assert_eq!(error.problem, "expected `}`, found the end of the document");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(|number| Value::from((number * 64.0).round() / 64.0)),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            proptest::collection::vec((any::<String>(), inner), 0..8)
                .prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_json_is_read_like_serde_json_reads_it(value in value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
    }

    #[test]
    fn no_bytes_panic_and_what_serde_json_takes_is_taken(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let read = parse(&bytes);
        prop_assert!(read.is_ok() || serde_json::from_slice::<Value>(&bytes).is_err());
    }

    #[test]
    fn a_document_with_a_change_is_read_or_refused_in_one_line(
        value in value(),
        at in any::<proptest::sample::Index>(),
        with in prop_oneof![Just(None), "[\\[\\]{}\",:\\\\u0-9eE.NI+-]".prop_map(Some)],
    ) {
        let mut text = serde_json::to_string(&value).unwrap();
        let at = at.index(text.len());
        prop_assume!(text.is_char_boundary(at));
        let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
        text.replace_range(at..end, with.as_deref().unwrap_or_default());
        match parse(text.as_bytes()) {
            Ok(_) => {}
            Err(error) => {
                prop_assert!(!error.to_string().contains('\n'), "{}", error);
                prop_assert!(serde_json::from_str::<Value>(&text).is_err(), "{}: {}", text, error);
            }
        }
    }

    #[test]
    fn a_float_is_the_nearest_one(bits in any::<u64>()) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        prop_assert_eq!(parse(format!("{number:e}").as_bytes()).unwrap(), Value::Number(Number::from_f64(number).unwrap()));
    }
}
