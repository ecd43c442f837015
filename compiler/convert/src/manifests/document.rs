//! Bytes of a manifest to JSON values: JSON, or YAML of several documents.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

/// Levels of nesting in YAML. Parsing recurses, so this bounds the stack; `serde_json` has a bound of its own.
/// Kubernetes objects have about 20 levels.
const DEPTH: usize = 64;

/// Why bytes are neither JSON nor YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// From 1; 0 if not known.
    pub(super) line: u64,
    /// From 1; 0 if not known.
    pub(super) column: u64,
    pub(super) message: String,
}

/// The documents in order, without empty ones. A key that a map has twice is an error in both languages: either of
/// the two values may be the one that was meant.
pub(super) fn documents(bytes: &[u8]) -> Result<Vec<Value>, SyntaxError> {
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    // Some editors begin files with a byte order mark, which JSON does not allow.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if is_json(text) { json(text) } else { yaml(text) }
}

/// Returns true if text is meant to be JSON. YAML has maps in braces too, but takes `{"ports": }` for a map with a null: what
/// starts like JSON must be JSON. A stream of JSON documents between YAML's separators is YAML.
fn is_json(text: &str) -> bool {
    let inside = text.trim_start().strip_prefix('{').map(str::trim_start);
    inside.is_some_and(|inside| inside.starts_with(['"', '}'])) && !text.contains("\n---")
}

fn not_utf8(bytes: &[u8], valid: usize) -> SyntaxError {
    let before = bytes.get(..valid).unwrap_or_default();
    let lines = before.split(|byte| *byte == b'\n');
    let (line, last) = lines.fold((0, 0), |(count, _), line| (count + 1, line.len()));
    SyntaxError { line, column: last as u64 + 1, message: "is not UTF-8".to_owned() }
}

fn json(text: &str) -> Result<Vec<Value>, SyntaxError> {
    let stream = serde_json::Deserializer::from_str(text).into_iter::<Document>();
    let documents: Result<Vec<Value>, serde_json::Error> = stream.map(|document| Ok(document?.0)).collect();
    documents.map_err(|error| {
        let (line, column) = (error.line() as u64, error.column() as u64);
        let message = error.to_string();
        // The place has fields of its own: in the message it would be told twice.
        let message = message.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&message);
        SyntaxError { line, column, message: printable(message) }
    })
}

/// A message that may repeat the input's own characters, fit for a terminal.
fn printable(message: &str) -> String {
    const LIMIT: usize = 300;
    let escaped = message.chars().take(LIMIT).map(|character| match character {
        character if character.is_control() => character.escape_default().to_string(),
        character => character.to_string(),
    });
    escaped.collect()
}

fn yaml(text: &str) -> Result<Vec<Value>, SyntaxError> {
    // What the parser reads is bounded by the size of the input, which may be a listing of a large cluster; what it
    // makes up out of aliases is bounded by the library's limits.
    let unbounded = usize::MAX;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: unbounded,
            max_nodes: unbounded,
            max_documents: unbounded,
            max_total_scalar_bytes: unbounded,
            max_depth: DEPTH,
            flow_nesting_limit: DEPTH,
        },
        // As kubectl reads numbers: 010 is 8.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let documents: Result<Vec<Document>, _> = serde_saphyr::from_multiple_with_options(text, options);
    documents.map(|documents| documents.into_iter().map(|document| document.0).collect()).map_err(|error| {
        let location = error.location();
        SyntaxError {
            line: location.map_or(0, |location| location.line()),
            column: location.map_or(0, |location| location.column()),
            message: printable(&UserMessageFormatter.format_message(&error)),
        }
    })
}

/// A JSON value in which no map has a key twice.
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor).map(Self)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // YAML has `.nan` and `.inf`, and JSON has no number for them.
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("{value} is not a finite number")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Document(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                let key: String = key.chars().take(60).collect();
                return Err(A::Error::custom(format!("the key {key:?} is there twice")));
            }
            let Document(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fails(text: &str) -> String {
        let SyntaxError { line, column, message } = documents(text.as_bytes()).unwrap_err();
        format!("{line}:{column}: {message}")
    }

    #[test]
    fn both_languages_and_several_documents_are_read() {
        assert_eq!(
            documents(b"{\"a\": [1, -2, 1.5, true, null, \"x\"]}").unwrap(),
            [json!({"a": [1, -2, 1.5, true, null, "x"]})]
        );
        assert_eq!(documents(b"{\"a\": 1}\n{\"a\": 2}").unwrap(), [json!({"a": 1}), json!({"a": 2})]);
        assert_eq!(documents(b"{a: 1, b: [x]}").unwrap(), [json!({"a": 1, "b": ["x"]})]);
        assert_eq!(
            documents("\u{feff}# start\n---\na: 1\n---\n# nothing\n---\nnull\n---\nb: x\n...\n".as_bytes())
                .unwrap(),
            [json!({"a": 1}), json!({"b": "x"})]
        );
        assert_eq!(documents(b"{\"a\": 1}\n---\n{\"a\": 2}\n").unwrap(), [json!({"a": 1}), json!({"a": 2})]);
        assert_eq!(documents(b"").unwrap(), [Value::Null; 0]);
    }

    #[test]
    fn yaml_scalars_mean_what_kubectl_takes_them_for() {
        let value = |text: &str| documents(format!("a: {text}").as_bytes()).unwrap()[0]["a"].clone();
        assert_eq!(value("yes"), json!(true));
        assert_eq!(value("010"), json!(8));
        assert_eq!(value("0x10"), json!(16));
        assert_eq!(value("1.10"), json!(1.1));
        assert_eq!(value("\"1.10\""), json!("1.10"));
        assert_eq!(value("10.0.0.1"), json!("10.0.0.1"));
        assert_eq!(value("2026-01-01T00:00:00Z"), json!("2026-01-01T00:00:00Z"));
        assert_eq!(value("fd00::1"), json!("fd00::1"));
        assert_eq!(value("~"), Value::Null);
        assert_eq!(value("|\n  x\n  y"), json!("x\ny\n"));
        assert_eq!(value("18446744073709551616"), json!(18_446_744_073_709_551_616_f64));
    }

    #[test]
    fn a_key_that_is_there_twice_is_an_error() {
        assert_eq!(fails("a: 1\nb:\n  c: 1\n  c: 2\n"), "4:3: duplicate mapping key `c` is not allowed here");
        assert_eq!(fails("{\"a\": 1,\n \"a\": 2}"), "2:4: the key \"a\" is there twice");
    }

    #[test]
    fn syntax_errors_name_the_place() {
        for (text, message) in [
            ("a: [1, 2\nb: 3\n", "2:2: "),
            ("a: 1\n b: 2\n", "2:3: "),
            ("a:\n\t- x\n", "2:"),
            ("{\"a\": 1,\n  \"b\": }", "2:8: expected value"),
            ("a: *missing\n", "1:4: "),
            ("a: .nan\n", "1:4: "),
        ] {
            let error = fails(text);
            assert!(error.starts_with(message), "{text:?}: {error}");
        }
        let error = documents(b"a: 1\nb: \xff\n").unwrap_err();
        assert_eq!((error.line, error.column, &*error.message), (2, 4, "is not UTF-8"));
    }

    #[test]
    fn alias_bombs_and_deep_nesting_are_errors() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let previous = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
        }
        fails(&bomb);
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("- ", ""), ("{a: ", "}")] {
            for depth in [130, 100_000] {
                fails(&format!("{}1{}", open.repeat(depth), close.repeat(depth)));
            }
        }
    }

    #[test]
    fn what_is_nested_as_deep_as_allowed_fits_a_small_stack() {
        let yaml: String = (0..DEPTH - 1).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        let json = format!("{}1{}", "{\"a\":".repeat(127), "}".repeat(127));
        let small = std::thread::Builder::new().stack_size(2 << 20);
        let read = small.spawn(move || [yaml, json].map(|text| documents(text.as_bytes()).is_ok())).unwrap();
        assert_eq!(read.join().unwrap(), [true, true]);
    }

    #[test]
    fn a_listing_may_have_more_nodes_than_the_librarys_default_budget() {
        let text = "- a: 1\n".repeat(100_000);
        assert_eq!(documents(text.as_bytes()).unwrap()[0].as_array().map(Vec::len), Some(100_000));
    }
}
