//! Each form has a golden; `BLESS=1` writes it.

use std::path::Path;

use flock_proto::v1::{Finding, Severity};

use super::*;

fn findings() -> Vec<Finding> {
    let finding =
        |code: &str, severity: Severity, [object, field, message, suggestion, origin]: [&str; 5]| Finding {
            code: code.into(),
            severity: severity.into(),
            object: object.into(),
            namespace: "shop".into(),
            field: field.into(),
            message: message.into(),
            suggestion: suggestion.into(),
            origin: origin.into(),
            since: None,
        };
    vec![
        finding(
            "FLK030",
            Severity::Error,
            ["NetworkPolicy shop/new", "spec.tier", "is not a known field", "", "policies/new file.yaml"],
        ),
        finding(
            "FLK001",
            Severity::Warning,
            [
                "NetworkPolicy shop/cache",
                "spec.podSelector",
                "no pod of shop has app=cach: app is api, cache there",
                "app=cache",
                "./policies/cache.yaml",
            ],
        ),
        finding(
            "FLK003",
            Severity::Warning,
            [
                "NetworkPolicy shop/hostile",
                "spec.ingress[0].ports[0].port",
                "no destination pod has a port \"<img src=x>|`@team`\n\u{202e}[a](b)\"",
                "a|`b",
                "<stdin>",
            ],
        ),
        finding("FLK020", Severity::Info, ["Pod shop/tool", "", "nothing isolates it", "", "kubernetes"]),
    ]
}

fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

#[test]
fn findings_are_markdown_that_does_nothing() {
    let text = markdown(&findings());
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let cells = line.replace("\\|", "").matches('|').count();
        assert_eq!(cells, 6, "{line}");
    }
    golden("findings.md", &text);
    assert_eq!(markdown(&[]), "**nothing found**\n");
}

#[test]
fn findings_are_sarif() {
    let log = sarif(&findings(), "flockctl", "1.2.3");
    let results = log["runs"][0]["results"].as_array().unwrap();
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    assert!(results[3]["locations"][0].get("physicalLocation").is_none(), "it is from no file");
    golden("findings.sarif", &format!("{log:#}\n"));
}

#[test]
fn what_is_found_is_counted_by_severity() {
    assert_eq!(summary(&findings()), "1 error, 2 warnings, 1 info");
    assert_eq!(summary(&[]), "nothing found");
}
