//! One manifest for each code.

use std::path::{Path, PathBuf};

use flock_ask::{Lint, Sight};

use crate::cluster::Manifest;

/// What a line that is expected begins with.
const EXPECT: &str = "# expect: ";

/// The codes that have a manifest.
fn cases() -> impl Iterator<Item = (&'static str, PathBuf, String)> {
    Lint::ALL.iter().map(|code| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/lint/{code}.yaml"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (code.as_str(), path, text)
    })
}

/// Writes what is found in place of what is expected.
fn bless(path: &Path, text: &str, found: &[String]) {
    let (mut lines, mut is_written) = (String::new(), false);
    for line in text.lines() {
        match line.starts_with(EXPECT) {
            true if is_written => {}
            true => {
                found.iter().for_each(|line| lines.push_str(&format!("{EXPECT}{line}\n")));
                is_written = true;
            }
            false => lines.push_str(&format!("{line}\n")),
        }
    }
    std::fs::write(path, lines).unwrap();
}

/// What is found of one code: object, field, message and what is suggested.
fn found(code: &str, text: &str) -> Vec<String> {
    let findings = Manifest::read("f.yaml", text).lint("", &Sight::Everything).unwrap();
    let of_code = findings.iter().filter(|finding| finding.code == code);
    of_code
        .map(|it| {
            let suggestion = match &*it.suggestion {
                "" => String::new(),
                suggestion => format!(" => {suggestion}"),
            };
            format!("{} {}: {}{suggestion}", it.object, it.field, it.message)
        })
        .collect()
}

#[test]
fn every_code_is_raised_by_what_it_is_about_and_not_by_what_is_close_by() {
    let mut wrong = String::new();
    for (code, path, text) in cases() {
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(EXPECT)).collect();
        let found = found(code, &text);
        assert!(!found.is_empty(), "{code} is raised by nothing");
        if std::env::var_os("BLESS").is_some() {
            bless(&path, &text, &found);
        } else if found != expected {
            let lines: String = found.iter().map(|line| format!("{EXPECT}{line}\n")).collect();
            wrong.push_str(&format!("{code}: found\n{lines}instead of\n{}\n", expected.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn findings_have_the_severity_of_their_code_and_the_file_of_their_object() {
    for (code, _, text) in cases() {
        let findings = Manifest::read("dir/f.yaml", &text).lint("", &Sight::Everything).unwrap();
        for finding in findings {
            let known = Lint::ALL.iter().find(|known| known.as_str() == finding.code).unwrap();
            assert_eq!(finding.severity, i32::from(known.severity()), "{code}");
            if finding.object.starts_with("NetworkPolicy") {
                assert_eq!(finding.origin, "dir/f.yaml", "{code}: {}", finding.object);
            }
        }
    }
}
