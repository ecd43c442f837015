//! SARIF 2.1.0 (OASIS), as code hosts take it: one run of this program, its rules with their help, and results that have a
//! rule, a level, a file and a name.

use serde_json::{Value, json};

use super::plain;

/// How bad a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Note,
    Warning,
    Error,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What results are about.
#[derive(Debug, Clone)]
pub(crate) struct Rule<'a> {
    /// Such as `FLK001`.
    pub(crate) id: &'a str,
    /// In one sentence.
    pub(crate) title: &'a str,
    /// Why it matters and what to do.
    pub(crate) help: &'a str,
    /// How bad it is.
    pub(crate) level: Level,
}

/// Something to tell.
#[derive(Debug, Clone)]
pub(crate) struct Result<'a> {
    /// The `id` of its rule.
    pub(crate) rule: &'a str,
    pub(crate) level: Level,
    pub(crate) message: String,
    /// The file as the user gave it; empty: none is known, or it is not from a file.
    pub(crate) file: &'a str,
    /// Kind, namespace and name of the object, and the field.
    pub(crate) object: &'a str,
    pub(crate) field: &'a str,
}

/// The log of one run.
pub(crate) fn log(program: &str, version: &str, rules: &[Rule<'_>], results: &[Result<'_>]) -> Value {
    let rule = |rule: &Rule<'_>| {
        json!({
            "id": rule.id,
            "shortDescription": { "text": rule.title },
            "fullDescription": { "text": rule.help },
            "help": { "text": rule.help },
            "defaultConfiguration": { "level": rule.level.word() },
        })
    };
    let result = |result: &Result<'_>| {
        let mut value = json!({
            "ruleId": result.rule,
            "level": result.level.word(),
            "message": { "text": plain(&result.message) },
            "locations": [location(result)],
            // What makes it the same one tomorrow, wherever it stands then.
            "partialFingerprints": { "object/v1": named(result) },
        });
        if let (Some(index), Some(value)) =
            (rules.iter().position(|rule| rule.id == result.rule), value.as_object_mut())
        {
            value.insert("ruleIndex".to_owned(), json!(index));
        }
        value
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": program,
                    "version": version,
                    "rules": rules.iter().map(rule).collect::<Vec<_>>(),
                }
            },
            "results": results.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// The object and its field: `NetworkPolicy shop/web spec.podSelector`.
fn named(result: &Result<'_>) -> String {
    plain(format!("{} {}", result.object, result.field).trim_end())
}

fn location(result: &Result<'_>) -> Value {
    let mut location = json!({
        "logicalLocations": [{ "fullyQualifiedName": named(result), "kind": "resource" }],
    });
    if !result.file.is_empty()
        && let Some(location) = location.as_object_mut()
    {
        // Where in the file is not known, and hosts want a line.
        let physical = json!({
            "artifactLocation": { "uri": uri(result.file) },
            "region": { "startLine": 1 },
        });
        location.insert("physicalLocation".to_owned(), physical);
    }
    location
}

/// A path as a reference of RFC 3986: relative to where the program ran, or of a file.
fn uri(path: &str) -> String {
    // Code hosts match it with paths of their repository, which begin with no `./`.
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_references() {
        for (path, expected) in [
            ("./policies/web.yaml", "policies/web.yaml"),
            ("/srv/a b.yaml", "file:///srv/a%20b.yaml"),
            ("a:b#c?d%.yaml", "a%3Ab%23c%3Fd%25.yaml"),
            ("ä\n", "%C3%A4%0A"),
            ("<stdin>", "%3Cstdin%3E"),
        ] {
            assert_eq!(uri(path), expected);
        }
    }
}
