//! Names, units and labels of all metrics, against what the texts and files for those who watch them say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::*;

/// The keys of all labels. What a tenant, a node or a client chooses must be the value of none.
const LABELS: [&str; 9] = ["kind", "outcome", "reach", "reason", "state", "version", "what", "why", "le"];

/// The metrics with everything in them that may be absent.
fn all() -> Metrics {
    let metrics = Metrics::with_watches(Arc::default());
    metrics.watches.iter().flat_map(|watches| watches.kinds()).for_each(|(_, kind)| kind.heard());
    metrics.objects(&World::default());
    metrics.passed(&Work::default());
    metrics.certificate_expiry(Some(1));
    metrics
}

/// What the text says of a metric.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    unit: String,
}

/// The metrics of a text by the names of their families.
fn families(text: &str) -> BTreeMap<&str, Family> {
    let mut families: BTreeMap<&str, Family> = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
        let mut words = line.splitn(3, ' ');
        let (Some(what), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let family = families.entry(name).or_default();
        match what {
            "HELP" => family.help = rest.to_owned(),
            "TYPE" => family.kind = rest.to_owned(),
            "UNIT" => family.unit = rest.to_owned(),
            _ => panic!("{line}"),
        }
    }
    families
}

/// The names of the series, as queries have them.
fn series(families: &BTreeMap<&str, Family>) -> BTreeSet<String> {
    let names = families.iter().flat_map(|(name, family)| {
        let suffixes: &[&str] = match &*family.kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            "info" => &["_info"],
            "gauge" => &[""],
            other => panic!("{name} is a {other}"),
        };
        suffixes.iter().map(move |suffix| format!("{name}{suffix}"))
    });
    names.collect()
}

fn deploy(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)).unwrap()
}

/// The words of a text that are names of metrics.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_name =
        |word: &&str| word.starts_with("flock_compiler_") || (word.starts_with("process_") && word.len() > 8);
    words.filter(is_name).collect()
}

#[test]
fn every_metric_has_a_help_and_names_its_unit() {
    let text = all().text();
    let families = families(&text);
    assert!(families.len() > 30, "{families:?}");
    for (name, Family { help, kind, unit }) in &families {
        assert!(help.len() > 5 && help.ends_with('.'), "{name}: {help:?}");
        assert!(!kind.is_empty(), "{name}");
        let is_seconds = name.ends_with("_seconds");
        let is_bytes = name.ends_with("_bytes");
        assert_eq!((unit == "seconds", unit == "bytes"), (is_seconds, is_bytes), "{name}: {unit:?}");
        assert!(kind != "histogram" || is_seconds, "{name}");
    }
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
}

#[test]
fn labels_are_of_this_program() {
    let text = all().text();
    let mut keys = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let labels = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        for label in labels.iter().flat_map(|(labels, _)| labels.split("\",")) {
            keys.extend(label.split_once('=').map(|(key, _)| key));
        }
    }
    assert_eq!(keys, LABELS.into());
    // Some hundreds, of which a cluster of any size has no more.
    let count = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(count < 400, "{count}");
}

#[test]
fn what_is_known_begins_with_none() {
    let text = Metrics::default().text();
    for series in [
        "denied_total{why=\"unreviewed\"}",
        "denied_total{why=\"not_tls\"}",
        "dropped_total{what=\"strangers\"}",
        "acks_total{outcome=\"nft_failed\"}",
        "policy_events_total{reason=\"Enforced\",outcome=\"written\"}",
        "reviews_total{kind=\"TokenReview\",outcome=\"timed_out\"}",
        "attach_seconds_count{reach=\"failed\"}",
        "problems{kind=\"over_budget\"}",
        "nodes{state=\"closed\"}",
        "not_ready{reason=\"alone\"}",
        "ready",
        "invariants_total",
        "contradictions_total",
    ] {
        assert!(text.contains(&format!("\nflock_compiler_{series} 0\n")), "{series}: {text}");
    }
    // A gauge that says when something ends must not say 1970.
    assert!(!text.contains("certificate_expiry"));
}

#[test]
fn rules_and_dashboard_name_what_there_is() {
    let text = all().text();
    let series = series(&families(&text));
    for file in ["monitoring/rules.yaml", "monitoring/rules.test.yaml", "monitoring/dashboard.json"] {
        let content = deploy(file);
        let named = named(&content);
        assert!(named.len() > 10, "{file}: {named:?}");
        for name in named {
            assert!(series.contains(name), "{name} of {file} is no metric");
        }
    }
}

#[test]
fn nodes_that_are_served_are_all_counted_against_those_that_there_are() {
    // An agent of no Node is served, and no Node lacks one for it.
    let served = NodeState::ALL.into_iter().filter(|state| state.is_served() && *state != NodeState::Unknown);
    let words: Vec<&str> = served.map(NodeState::as_str).collect();
    for (file, quote) in [("monitoring/rules.yaml", "\""), ("monitoring/dashboard.json", "\\\"")] {
        let wanted = format!("state=~{quote}{}{quote}", words.join("|"));
        assert!(deploy(file).contains(&wanted), "{file}: {wanted}");
    }
}

/// A state that is called otherwise leaves no alert behind that never fires, and none is without its explanation.
#[test]
fn states_of_nodes_are_the_same_in_rules_dashboard_and_readme() {
    let words: Vec<&str> = NodeState::ALL.into_iter().map(NodeState::as_str).collect();
    for file in ["monitoring/rules.yaml", "monitoring/dashboard.json"] {
        let content = deploy(file).replace("\\\"", "\"");
        let mut named = 0;
        for matcher in ["state=\"", "state=~\"", "state!=\""] {
            for rest in content.split(matcher).skip(1) {
                for word in rest.split('"').next().unwrap().split('|') {
                    assert!(words.contains(&word), "{file}: {word:?} is no state of a node");
                    named += 1;
                }
            }
        }
        assert!(named >= 8, "{file}: {named}");
    }
    let readme = deploy("../compiler/flockctl/README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let explained: BTreeSet<&str> = rows.flat_map(|cell| cell.trim_end_matches('`').split("`, `")).collect();
    for word in words {
        assert!(explained.contains(word), "{word} is not explained");
    }
}

#[test]
fn every_metric_and_every_alert_is_explained() {
    let readme = deploy("README.md");
    let text = all().text();
    for name in series(&families(&text)) {
        let name = ["_bucket", "_count", "_sum"].iter().find_map(|it| name.strip_suffix(it)).unwrap_or(&name);
        let name = name.strip_prefix("flock_compiler_").unwrap_or(name);
        let is_told = [format!("`{name}`"), format!("`{name}{{")].iter().any(|it| readme.contains(it));
        assert!(is_told, "{name}");
    }
    let rules = deploy("monitoring/rules.yaml");
    let words = |key: &'static str| rules.lines().filter_map(move |line| line.trim().strip_prefix(key));
    let alerts: Vec<&str> = words("- alert: ").collect();
    let runbooks: Vec<&str> = words("runbook_url: ").collect();
    assert_eq!(alerts.len(), runbooks.len());
    for (alert, runbook) in alerts.iter().zip(runbooks) {
        assert!(readme.contains(&format!("\n### {alert}\n")), "{alert}");
        assert_eq!(runbook, format!("deploy/README.md#{}", alert.to_lowercase()));
    }
}

#[test]
fn a_certificate_that_goes_shows_no_end() {
    let metrics = all();
    assert!(metrics.text().contains("\nflock_compiler_certificate_expiry_timestamp_seconds{} 1\n"));
    metrics.certificate_expiry(None);
    assert!(!metrics.text().contains("certificate_expiry"));
}

#[test]
fn names_of_denials_are_those_that_are_known() {
    let metrics = Metrics::default();
    let before = metrics.text().matches("flock_compiler_denied_total{").count();
    let denied = [
        Denied::NoToken,
        Denied::MalformedToken,
        Denied::NotAuthenticated { reason: String::new() },
        Denied::WrongAudience { audience: String::new() },
        Denied::NoNode { username: String::new(), found: 0 },
        Denied::Unreviewed { reason: String::new() },
    ];
    denied.iter().for_each(|denied| metrics.denied(denied.kind()));
    assert_eq!(metrics.text().matches("flock_compiler_denied_total{").count(), before);
}

#[test]
fn an_agent_that_lies_spoils_no_sum() {
    let metrics = Metrics::default();
    let took = Duration::from_secs(u64::MAX);
    metrics.ack(&Ack { revision: None, outcome: Outcome::Applied, error: String::new(), took, drifts: 0 });
    assert!(metrics.text().contains("\nflock_compiler_apply_seconds_sum 3600.0\n"));
}

#[test]
fn problems_are_counted_by_kind() {
    use flock_compiler_core::Consequence;
    let problem = |consequence, origin: Option<&str>| Problem {
        object: String::new(),
        namespace: None,
        origin: origin.map(Into::into),
        field: String::new(),
        message: String::new(),
        consequence,
    };
    let metrics = Metrics::default();
    let count = |kind: &str| {
        let text = metrics.text();
        let prefix = format!("flock_compiler_problems{{kind=\"{kind}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&prefix)?.parse::<u32>().ok()).unwrap()
    };
    metrics.problems(&[
        problem(Consequence::Isolated, Some("kubernetes")),
        problem(Consequence::Isolated, None),
        problem(Consequence::NamespaceIsolated, None),
        problem(Consequence::Told, Some("agent")),
    ]);
    assert_eq!(["policy_not_understood", "over_budget", "told", "not_listed"].map(count), [1, 2, 1, 0]);
    metrics.problems(&[]);
    assert_eq!(["policy_not_understood", "over_budget", "told"].map(count), [0, 0, 0]);
}
