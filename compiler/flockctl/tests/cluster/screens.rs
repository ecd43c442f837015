//! What questions about policy print, against files in `screens/`; `BLESS=1` writes them.

use std::path::Path;
use std::time::{Duration, SystemTime};

use flock_proto::v1;
use prost_types::Timestamp;

use crate::site::{Ended, Site};

/// Compares what is printed, below the command line and the exit status.
#[track_caller]
pub(crate) fn golden(name: &str, shown: &[(&str, &Ended)]) {
    let shown: Vec<String> = shown
        .iter()
        .map(|(arguments, ended)| {
            assert_eq!(ended.stderr, "", "{arguments}");
            format!("$ flockctl {arguments}\n{}# exit {}\n", ended.stdout, ended.code.unwrap())
        })
        .collect();
    let shown = shown.join("\n");
    assert!(!shown.contains('\u{1b}'), "colours are for terminals: {shown}");
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/screens").join(format!("{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, shown).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, expected, "{name}: BLESS=1 writes what is printed");
}

/// So long ago; what is shown of it as an age does not hang on the clock.
fn ago(seconds: u64) -> Option<Timestamp> {
    Some((SystemTime::now() - Duration::from_secs(seconds)).into())
}

/// A moment of a day that is not today.
fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds: 1_700_000_000 + seconds, nanos })
}

fn pod(namespace: &str, name: &str, address: &str, node: &str) -> Option<v1::ShownEnd> {
    Some(v1::ShownEnd {
        name: format!("{namespace}/{name}"),
        namespace: Some(namespace.to_owned()),
        pod: Some(name.to_owned()),
        address: Some(address.to_owned()),
        node: Some(node.to_owned()),
        pods: 1,
        ..v1::ShownEnd::default()
    })
}

fn workload(namespace: &str, workload: &str, pods: u32) -> Option<v1::ShownEnd> {
    Some(v1::ShownEnd {
        name: format!("{namespace}/{workload}"),
        namespace: Some(namespace.to_owned()),
        workload: Some(workload.to_owned()),
        pods,
        ..v1::ShownEnd::default()
    })
}

fn cite(text: &str) -> v1::Cite {
    v1::Cite { text: text.to_owned(), namespace: "shop".to_owned(), ..v1::Cite::default() }
}

fn tcp(number: u32) -> v1::PortAtom {
    v1::PortAtom { protocol: "TCP".to_owned(), first: number, last: number, ..v1::PortAtom::default() }
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|&it| it.to_owned()).collect()
}

fn miss(rule: &str, peer_why: &[&str], port_why: &[&str]) -> v1::RuleMiss {
    v1::RuleMiss {
        rule: rule.to_owned(),
        peer: peer_why.is_empty(),
        peer_why: strings(peer_why),
        port: port_why.is_empty(),
        port_why: strings(port_why),
        nearest: false,
    }
}

/// The denial of the contract's first screen.
fn denied() -> v1::Explanation {
    let policy = |policy: &str, rules, note: &str| v1::IsolatingPolicy {
        policy: policy.to_owned(),
        namespace: "shop".to_owned(),
        rules,
        note: note.to_owned(),
        ..v1::IsolatingPolicy::default()
    };
    let rules = vec![
        miss("shop/database ingress[0]", &["pods app=apii: selects no pod; shop/api-5f6b has app=api"], &[]),
        miss("shop/database ingress[1]", &[], &["\"postgres\": the destination names pg=5432/TCP"]),
    ];
    let ingress = v1::DirectionVerdict {
        verdict: v1::Verdict::Denied.into(),
        isolated_by: vec![
            policy("shop/default-deny", Vec::new(), "has no ingress rules"),
            policy("shop/database", rules, ""),
        ],
        words: "isolated by shop/default-deny, shop/database; none of their rules allows it".to_owned(),
        ..v1::DirectionVerdict::default()
    };
    v1::Explanation {
        from: pod("shop", "api-5f6b", "10.244.1.11", "worker-1"),
        to: pod("shop", "database-0", "10.244.2.12", "worker-2"),
        port: Some(v1::Port { protocol: "TCP".to_owned(), number: 5432 }),
        allowed: false,
        egress: Some(allowed_by("shop/api egress[0].to[0].ports[0]")),
        ingress: Some(ingress),
        evidence: vec![v1::Evidence {
            node: "worker-2".to_owned(),
            direction: v1::Direction::Ingress.into(),
            revision: Some("e7d49617a70a0123456789abcdef0123".to_owned()),
            since: at(0, 0),
            current: true,
            table_passes: Some(false),
            objects_pass: Some(false),
            ..v1::Evidence::default()
        }],
        dropped_packets: Some(37),
        dropped_since: at(0, 0),
        last_dropped: ago(300),
    }
}

fn allowed_by(text: &str) -> v1::DirectionVerdict {
    v1::DirectionVerdict {
        verdict: v1::Verdict::Allowed.into(),
        passes: true,
        allowed_by: vec![cite(text)],
        ..v1::DirectionVerdict::default()
    }
}

fn answer(explanations: Vec<v1::Explanation>) -> v1::ExplainResponse {
    v1::ExplainResponse { explanations, notes: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_verdict_each_reason_and_what_the_nodes_do() {
    let site = Site::start().await;
    *site.compiler.ask.explanation.lock().unwrap() = answer(vec![denied()]);
    let (asked, can) =
        ("explain shop/api-5f6b shop/database-0 5432", "can shop/api-5f6b reach shop/database-0:5432");
    golden("explain-denied", &[(asked, &site.run(asked).await), (can, &site.run(can).await)]);

    let contradicted =
        v1::Evidence { contradiction: true, table_passes: Some(true), ..denied().evidence.remove(0) };
    let wrong = v1::Explanation { evidence: vec![contradicted], ..denied() };
    *site.compiler.ask.explanation.lock().unwrap() = answer(vec![wrong]);
    golden("explain-contradiction", &[(asked, &site.run(asked).await)]);

    let open = v1::DirectionVerdict {
        verdict: v1::Verdict::Open.into(),
        passes: true,
        words: "no policy isolates it".to_owned(),
        ..v1::DirectionVerdict::default()
    };
    let behind = v1::Evidence { current: false, table_passes: None, ..denied().evidence.remove(0) };
    let allowed = v1::Explanation {
        allowed: true,
        to: Some(v1::ShownEnd {
            endpoints: Some(2),
            endpoints_total: Some(3),
            ..workload("shop", "svc/db", 2).unwrap()
        }),
        egress: Some(open),
        ingress: Some(allowed_by("shop/database ingress[0].from[0].ports[0]")),
        evidence: vec![behind],
        dropped_packets: None,
        ..denied()
    };
    let notes = strings(&["2 pairs of pods were judged; 1 was not"]);
    *site.compiler.ask.explanation.lock().unwrap() = v1::ExplainResponse { notes, ..answer(vec![allowed]) };
    golden("explain-allowed", &[(asked, &site.run(asked).await), (can, &site.run(can).await)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_and_reach_show_ends_ports_and_reasons() {
    let site = Site::start().await;
    let row = |other, ports, because| v1::ReachRow {
        end: pod("shop", "database-0", "10.244.2.12", "worker-2"),
        other,
        ports,
        because,
        words: String::new(),
    };
    let any_other = v1::PortAtom { any_other: true, ..tcp(0) };
    *site.compiler.ask.reach.lock().unwrap() = vec![
        row(
            workload("shop", "deploy/api", 3),
            vec![tcp(5432)],
            vec![cite("shop/database ingress[0].from[0].ports[0]")],
        ),
        row(pod("ops", "toolbox", "10.244.1.9", "worker-1"), vec![tcp(22), any_other], Vec::new()),
    ];
    let (who, what) = ("who-can reach shop/database-0", "reach shop/database-0 -o wide");
    golden("reach", &[(who, &site.run(who).await), (what, &site.run(what).await)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matrix_is_a_grid_and_has_forms_for_other_programs() {
    let site = Site::start().await;
    let row = |from, to, ports: Vec<v1::PortAtom>, everything| v1::MatrixRow { from, to, ports, everything };
    let [api, database] = [workload("shop", "deploy/api", 2), workload("shop", "sts/database", 1)];
    *site.compiler.ask.matrix.lock().unwrap() = vec![
        row(api.clone(), database.clone(), vec![tcp(5432)], false),
        row(api.clone(), api.clone(), Vec::new(), true),
        row(database.clone(), api, Vec::new(), false),
        row(database.clone(), database, Vec::new(), false),
    ];
    let mut shown = Vec::new();
    for shape in ["table", "md", "csv", "dot", "svg"] {
        let arguments = format!("matrix -n shop --ports 5432,80 -o {shape}");
        let ended = site.run(&arguments).await;
        shown.push((arguments, ended));
    }
    golden("matrix", &shown.iter().map(|(arguments, ended)| (arguments.as_str(), ended)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_and_what_is_open_are_tables() {
    let site = Site::start().await;
    let policy = |name: &str| v1::PolicyRow {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        understood: true,
        ..v1::PolicyRow::default()
    };
    *site.compiler.ask.policies.lock().unwrap() = vec![
        v1::PolicyRow {
            pods: 1,
            nodes: 1,
            enforced: Some(1),
            since: ago(22 * 60 + 5),
            ingress_rules: Some(2),
            drops: Some(37),
            notes: strings(&["FLK002", "FLK003"]),
            ..policy("database")
        },
        v1::PolicyRow {
            enforced: Some(0),
            ingress_rules: Some(1),
            drops: Some(0),
            notes: strings(&["FLK001"]),
            ..policy("cache")
        },
        v1::PolicyRow {
            pods: 4,
            nodes: 3,
            enforced: Some(2),
            missing: strings(&["worker-7"]),
            egress_rules: Some(0),
            understood: false,
            ..policy("odd")
        },
    ];
    let (one, all) = ("policies -n shop", "policies -o wide");
    golden("policies", &[(one, &site.run(one).await), (all, &site.run(all).await)]);

    *site.compiler.ask.open.lock().unwrap() = vec![
        v1::OpenRow { workload: workload("shop", "deploy/api", 3), open_ingress: 0, open_egress: 3, pods: 3 },
        v1::OpenRow {
            workload: pod("ops", "toolbox", "10.244.1.9", "worker-1"),
            open_ingress: 1,
            open_egress: 1,
            pods: 1,
        },
        v1::OpenRow { workload: workload("shop", "ds/log", 5), open_ingress: 2, open_egress: 0, pods: 5 },
    ];
    golden("open", &[("open", &site.run("open").await)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_and_history_show_when_and_why() {
    let site = Site::start().await;
    let drop = |seconds, packets, missed| v1::DropRow {
        time: at(seconds, 186_000_000),
        node: "worker-2".to_owned(),
        from: pod("shop", "api-5f6b", "10.244.1.11", "worker-1"),
        to: pod("shop", "database-0", "10.244.2.12", "worker-2"),
        port: Some(v1::Port { protocol: "TCP".to_owned(), number: 5432 }),
        direction: v1::Direction::Ingress.into(),
        packets: Some(packets),
        first: at(0, 0),
        why: "ingress: isolated by shop/default-deny, shop/database; nearest shop/database ingress[0] (peer)"
            .to_owned(),
        missed,
        ..v1::DropRow::default()
    };
    *site.compiler.ask.drops.lock().unwrap() = vec![drop(9, 3, 12), drop(5, 4, 0)];
    let mut shown = Vec::new();
    for arguments in ["drops --since 1h", "drops --top", "drops -o wide"] {
        shown.push((arguments, site.run(arguments).await));
    }
    let shown: Vec<_> = shown.iter().map(|(arguments, ended)| (*arguments, ended)).collect();
    golden("drops", &shown);
    let followed = site.run("drops -f").await;
    assert!(followed.code == Some(1) && followed.stdout.lines().count() == 4, "{followed:?}");
    assert!(
        followed.stdout.starts_with("TIME ") && followed.stderr.contains("ended the watch"),
        "{followed:?}"
    );

    let pass = v1::PassRow {
        time: at(0, 0),
        objects: strings(&[
            "NetworkPolicy shop/web",
            "Pod shop/api-5f6b",
            "Pod shop/api-7c8d",
            "Pod shop/api-9e0f",
        ]),
        objects_total: 25,
        nodes: 3,
        took: Some(prost_types::Duration { seconds: 0, nanos: 1_250_000 }),
        acknowledged: 3,
        acknowledged_by: at(1, 0),
        opened: Some(12),
        closed: None,
        sequence: 7,
    };
    *site.compiler.ask.passes.lock().unwrap() = vec![pass];
    golden("history", &[("history", &site.run("history").await)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_a_table_and_a_file() {
    let site = Site::start().await;
    let node = |node: &str, desired: &str, applied: Option<&str>| v1::NodeReceipt {
        node: node.to_owned(),
        desired_revision: desired.repeat(16),
        applied_revision: applied.map(|it| it.repeat(16)),
        applied_since: applied.and_then(|_| at(0, 0)),
        facts: vec![0x0a, 0x01].into(),
        overdue: Vec::new(),
    };
    let late = v1::OverdueReceipt { namespace: "shop".to_owned(), pod: Some("late".to_owned()) };
    let policy = |name: &str| v1::PolicyReceipt {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: Some("u-1".to_owned()),
        resource_version: Some("7".to_owned()),
    };
    *site.compiler.ask.receipt.lock().unwrap() = v1::Receipt {
        time: at(5, 0),
        compiler_version: "1.2.3".to_owned(),
        layout_version: 9,
        options: [("unreadyPods".to_owned(), "expected".to_owned())].into(),
        nodes: vec![
            node("worker-1", "e7d4", Some("e7d4")),
            v1::NodeReceipt { overdue: vec![late], ..node("worker-2", "90ab", Some("1234")) },
            node("worker-3", "cdef", None),
        ],
        policies: vec![policy("web"), policy("database")],
    };
    let (table, file) = ("receipt -n shop", "receipt -n shop -o json");
    golden("receipt", &[(table, &site.run(table).await), (file, &site.run(file).await)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_chose_tells_a_terminal_nothing() {
    let site = Site::start().await;
    let hostile = "x\u{1b}[31m\u{202e}y\nDENIED\u{9b}2J";
    let mut explanation = denied();
    explanation.from.as_mut().unwrap().name = hostile.to_owned();
    let ingress = explanation.ingress.as_mut().unwrap();
    ingress.words = hostile.to_owned();
    ingress.isolated_by[0].note = hostile.to_owned();
    ingress.isolated_by[1].policy = hostile.to_owned();
    ingress.isolated_by[1].rules[0].rule = hostile.to_owned();
    ingress.isolated_by[1].rules[0].peer_why = vec![hostile.to_owned()];
    explanation.egress.as_mut().unwrap().allowed_by[0].text = hostile.to_owned();
    explanation.evidence[0].words = hostile.to_owned();
    let notes = vec![hostile.to_owned()];
    *site.compiler.ask.explanation.lock().unwrap() =
        v1::ExplainResponse { notes, ..answer(vec![explanation]) };
    *site.compiler.ask.policies.lock().unwrap() =
        vec![v1::PolicyRow { name: hostile.into(), notes: strings(&[hostile]), ..v1::PolicyRow::default() }];
    *site.compiler.ask.drops.lock().unwrap() =
        vec![v1::DropRow { node: hostile.into(), why: hostile.into(), missed: 1, ..v1::DropRow::default() }];
    *site.compiler.ask.findings.lock().unwrap() = vec![v1::Finding {
        severity: 3,
        object: hostile.into(),
        message: hostile.into(),
        suggestion: hostile.into(),
        ..v1::Finding::default()
    }];
    *site.compiler.ask.preview.lock().unwrap() =
        vec![v1::PreviewRow { because: hostile.into(), ..v1::PreviewRow::default() }];
    for arguments in [
        "explain shop/a shop/b 80 -o wide",
        "policies -o wide",
        "drops -o wide",
        "drops --top",
        "lint",
        "preview --delete netpol/shop/web",
    ] {
        let ended = site.run(arguments).await;
        assert!(ended.stdout.contains('x') && ended.stderr.is_empty(), "{arguments}: {ended:?}");
        let bad = |c: char| c != '\n' && c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!ended.stdout.contains(bad), "{arguments}: {ended:?}");
        assert!(
            ended
                .stdout
                .lines()
                .all(|line| !line.starts_with("DENIED\u{9b}") && !line.starts_with("DENIED 2J")),
            "{ended:?}"
        );
    }
}
