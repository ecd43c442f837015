//! Rows are by workload where its pods agree, by namespace where those are too many, and else by what passes; what is larger
//! than that is refused, with what to ask instead. Nodes as ends of `explain`.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "lint/cluster.rs"]
#[allow(dead_code, reason = "only clusters are of use here")]
mod cluster;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use flock_ask::{AskError, Proposed, Sight, explain, matrix, open, preview, reach};
use flock_compiler_core::object::Policy;
use flock_proto::v1;
use flock_proto::v1::end::End as Asked;

use cluster::Manifest;

const ALL: Sight = Sight::Everything;

/// A manifest of the items that are written.
struct Items(String);

impl Items {
    fn new() -> Self {
        Self("kind: List\napiVersion: v1\nitems:\n".to_owned())
    }

    fn add(&mut self, item: &str) {
        writeln!(self.0, "- {item}").unwrap();
    }

    /// A pod, of a StatefulSet where one is given.
    fn pod(&mut self, namespace: &str, name: &str, set: Option<&str>, labels: &str, address: &str) {
        let owner = set.map(|set| {
            format!(
                ", ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: {set}, uid: u, controller: true}}]"
            )
        });
        let owner = owner.unwrap_or_default();
        let status = match address {
            "" => String::new(),
            address => format!(", status: {{phase: Running, podIPs: [{{ip: \"{address}\"}}]}}"),
        };
        self.add(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{namespace: {namespace}, name: {name}, labels: {{{labels}}}{owner}}}, \
             spec: {{nodeName: n1, containers: []}}{status}}}"
        ));
    }

    /// A policy of this specification.
    fn policy(&mut self, namespace: &str, name: &str, spec: &str) {
        self.add(&format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{namespace: {namespace}, name: {name}}}, \
             spec: {{{spec}}}}}"
        ));
    }

    fn read(&self) -> Manifest {
        Manifest::read("f.yaml", &self.0)
    }
}

fn pod_end(namespace: &str, name: &str) -> Asked {
    Asked::Pod(v1::PodName { namespace: namespace.into(), name: name.into() })
}

fn asked(
    manifest: &Manifest,
    end: Asked,
    direction: v1::Direction,
    port: Option<u32>,
) -> Result<Vec<v1::ReachRow>, AskError> {
    let port = port.map(|number| v1::Port { protocol: "TCP".into(), number });
    let end = Some(v1::End { end: Some(end) });
    reach(&manifest.cluster(), &v1::ReachRequest { end, direction: direction.into(), port }, &ALL)
}

/// The other ends, and how many pods each row is about.
fn others(rows: &[v1::ReachRow]) -> Vec<(&str, u32)> {
    rows.iter().map(|row| row.other.as_ref().unwrap()).map(|end| (&*end.name, end.pods)).collect()
}

/// Those of a workload that agree where another one differs.
const MIXED: &str = "shop/sts/mixed (2 of 3 pods, such as mixed-0)";

/// A StatefulSet of three whose pods agree, one of three of which one pod differs, and a pod of nobody; `db` lets some in.
fn sets() -> Manifest {
    let mut items = Items::new();
    items.add("{apiVersion: v1, kind: Node, metadata: {name: n1}}");
    for pod in 0..3 {
        items.pod("shop", &format!("same-{pod}"), Some("same"), "app: api", &format!("10.0.0.{pod}"));
        let canary = if pod == 2 { "app: api, track: canary" } else { "app: api" };
        items.pod("shop", &format!("mixed-{pod}"), Some("mixed"), canary, &format!("10.0.1.{pod}"));
    }
    items.pod("shop", "single", None, "app: api", "10.0.2.1");
    items.pod("shop", "db-0", Some("db"), "app: db", "10.0.3.1");
    items.policy(
        "shop",
        "db",
        "podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress], ingress: [\
         {from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 5432}]}, \
         {from: [{podSelector: {matchLabels: {track: canary}}}], ports: [{port: 9187}]}]",
    );
    items.policy("shop", "canary", "podSelector: {matchLabels: {track: canary}}, policyTypes: [Ingress]");
    items.read()
}

#[test]
fn pods_of_a_workload_that_agree_are_one_row_and_those_that_differ_are_not() {
    let manifest = sets();
    let ingress = asked(&manifest, pod_end("shop", "db-0"), v1::Direction::Ingress, None).unwrap();
    let mut pods = others(&ingress);
    pods.retain(|(name, _)| name.starts_with("shop/"));
    pods.sort_unstable();
    let expected = [("shop/mixed-2", 1), ("shop/single", 1), (MIXED, 2), ("shop/sts/same", 3)];
    assert_eq!(pods, expected);
    let by_name = |rows: &[v1::ReachRow], name: &str| {
        let row = rows.iter().find(|row| row.other.as_ref().unwrap().name == name);
        row.unwrap_or_else(|| panic!("no {name} in {rows:#?}")).clone()
    };
    let ports = |row: &v1::ReachRow| row.ports.iter().map(|atom| atom.first).collect::<Vec<_>>();
    assert_eq!(ports(&by_name(&ingress, MIXED)), [5432]);
    assert_eq!(ports(&by_name(&ingress, "shop/mixed-2")), [5432, 9187]);
    // A row of several is about no address; of one, it says which.
    assert_eq!(by_name(&ingress, "shop/sts/same").other.unwrap().address, None);
    assert_eq!(by_name(&ingress, "shop/mixed-2").other.unwrap().address.as_deref(), Some("10.0.1.2"));

    // What `same-0` may reach: of `mixed` all but the canary, of its own set the other two.
    let egress = asked(&manifest, pod_end("shop", "same-0"), v1::Direction::Egress, None).unwrap();
    let names = others(&egress);
    assert!(names.contains(&(MIXED, 2)) && names.contains(&("shop/sts/same", 2)), "{names:?}");
    assert!(!names.iter().any(|(name, _)| *name == "shop/mixed-2"), "{names:?}");

    // A workload that is asked about: its pods that agree are one end, the others are each their own.
    let mixed = v1::WorkloadName { namespace: "shop".into(), kind: "sts".into(), name: "mixed".into() };
    let rows = asked(&manifest, Asked::Workload(mixed), v1::Direction::Ingress, None).unwrap();
    let mut ends: Vec<(&str, u32)> =
        rows.iter().map(|row| row.end.as_ref().unwrap()).map(|end| (&*end.name, end.pods)).collect();
    ends.dedup();
    assert!(ends.iter().any(|(name, pods)| (*name, *pods) == (MIXED, 2)), "{ends:?}");
}

/// Templates stand for all pods of a Deployment, which are not one pod that always reaches itself.
#[test]
fn what_stands_for_several_pods_reaches_itself_as_policies_allow() {
    let mut items = Items::new();
    items.add("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    for app in ["api", "web"] {
        items.add(&format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{namespace: shop, name: {app}}}, spec: {{selector: \
             {{matchLabels: {{app: {app}}}}}, template: {{metadata: {{labels: {{app: {app}}}}}, spec: {{containers: []}}}}}}}}"
        ));
    }
    items.policy("shop", "api", "podSelector: {matchLabels: {app: api}}, policyTypes: [Ingress]");
    let manifest = items.read();
    let cells =
        matrix(&manifest.cluster(), &v1::MatrixRequest { namespace: "shop".into(), ports: Vec::new() }, &ALL);
    let cells: Vec<_> = cells
        .unwrap()
        .into_iter()
        .map(|row| (row.from.unwrap().name, row.to.unwrap().name, row.everything, row.ports.is_empty()))
        .collect();
    let cell = |from: &str, to: &str| {
        let is_it = |cell: &&(String, String, bool, bool)| cell.0 == from && cell.1 == to;
        cells.iter().find(is_it).map(|(.., everything, nothing)| (*everything, *nothing))
    };
    assert_eq!(cell("shop/deploy/web", "shop/deploy/web"), Some((true, false)), "{cells:?}");
    assert_eq!(cell("shop/deploy/api", "shop/deploy/api"), Some((false, true)), "{cells:?}");
    let end = |name: &str| {
        Asked::Workload(v1::WorkloadName {
            namespace: "shop".into(),
            kind: "deploy".into(),
            name: name.into(),
        })
    };
    for (name, reaches_itself) in [("web", true), ("api", false)] {
        for direction in [v1::Direction::Ingress, v1::Direction::Egress] {
            let rows = asked(&manifest, end(name), direction, None).unwrap();
            let own = format!("shop/deploy/{name}");
            assert_eq!(others(&rows).contains(&(&*own, 1)), reaches_itself, "{direction:?}: {rows:#?}");
        }
    }
    let mut isolating = Items::new();
    isolating.policy("shop", "web", "podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]");
    let policies = isolating.read().world.policies().values().map(|policy| Policy::clone(policy)).collect();
    let proposed = Proposed { policies, ..Proposed::default() };
    let rows = preview(&manifest.cluster(), &proposed, &ALL).unwrap();
    let closed = rows.iter().filter(|row| row.change() == v1::Change::Closed);
    let froms: Vec<_> = closed.map(|row| &*row.from.as_ref().unwrap().name).collect();
    assert_eq!(froms, ["internet", "shop/deploy/api", "shop/deploy/web"]);
}

/// Two halves of a StatefulSet: neither is shown as if it were the whole, wherever it stands.
#[test]
fn halves_of_a_workload_are_told_apart() {
    let mut items = Items::new();
    for pod in 0..4 {
        let labels = if pod < 2 { "app: x" } else { "app: x, track: canary" };
        items.pod("shop", &format!("x-{pod}"), Some("x"), labels, "");
    }
    items.pod("shop", "db", None, "app: db", "");
    let canary = "{podSelector: {matchLabels: {track: canary}}}";
    items.policy(
        "shop",
        "db",
        &format!(
            "podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: [{canary}], ports: [{{port: 81}}]}}, \
             {{from: [{{podSelector: {{matchLabels: {{app: x}}}}}}], ports: [{{port: 80}}]}}]"
        ),
    );
    items.policy("shop", "canary", "podSelector: {matchLabels: {track: canary}}, policyTypes: [Ingress]");
    let manifest = items.read();
    let halves = ["shop/sts/x (2 of 4 pods, such as x-0)", "shop/sts/x (2 of 4 pods, such as x-2)"];
    let rows = asked(&manifest, pod_end("shop", "db"), v1::Direction::Ingress, None).unwrap();
    let mut told = others(&rows);
    told.retain(|(name, _)| name.starts_with("shop/"));
    told.sort_unstable();
    assert_eq!(told, halves.map(|name| (name, 2)));
    let workload = v1::WorkloadName { namespace: "shop".into(), kind: "sts".into(), name: "x".into() };
    let rows = asked(&manifest, Asked::Workload(workload.clone()), v1::Direction::Ingress, Some(80)).unwrap();
    assert!(
        !rows.is_empty() && rows.iter().all(|row| row.end.as_ref().unwrap().name == halves[0]),
        "{rows:#?}"
    );
    let end = |end| Some(v1::End { end: Some(end) });
    let port = Some(v1::Port { protocol: "TCP".into(), number: 80 });
    let (from, to) = (end(pod_end("shop", "db")), end(Asked::Workload(workload)));
    let request = v1::ExplainRequest { from, to, port };
    let told = explain(&manifest.cluster(), &request, &ALL).unwrap().explanations;
    let told: Vec<_> = told.iter().map(|it| (it.to.as_ref().unwrap().name.as_str(), it.allowed)).collect();
    assert_eq!(told, [(halves[0], true), (halves[1], false)]);
    let request = v1::MatrixRequest { namespace: "shop".into(), ports: Vec::new() };
    let rows = matrix(&manifest.cluster(), &request, &ALL).unwrap();
    let ends = |row: &v1::MatrixRow| [&row.from, &row.to].map(|end| end.as_ref().unwrap().name.clone());
    let cells: BTreeSet<_> = rows.iter().map(ends).collect();
    assert_eq!(cells.len(), rows.len(), "two ends have one cell");
    let to_db = |half: &str| {
        let cell = rows.iter().find(|row| ends(row) == [half, "shop/db"]).unwrap();
        cell.ports.iter().map(|atom| (atom.first, atom.last)).collect::<Vec<_>>()
    };
    assert_eq!(to_db(halves[0]), [(80, 80)]);
    assert_eq!(to_db(halves[1]), [(80, 81)]);
}

/// Of two families, one is let in on a port and one on another: a cell of a matrix has both, a row of `who-can` says which.
#[test]
fn what_differs_by_family_is_in_one_cell_of_a_matrix_and_in_two_rows_of_who_can() {
    let mut items = Items::new();
    items.pod("shop", "a", None, "app: a", "10.0.0.1\"}, {ip: \"fd00::1");
    items.pod("shop", "b", None, "app: b", "10.0.0.2\"}, {ip: \"fd00::2");
    items.policy(
        "shop",
        "b",
        "podSelector: {matchLabels: {app: b}}, ingress: [\
         {from: [{ipBlock: {cidr: 10.0.0.0/24}}], ports: [{port: 80}]}, \
         {from: [{ipBlock: {cidr: \"fd00::/64\"}}], ports: [{port: 90}]}]",
    );
    let manifest = items.read();
    let rows = asked(&manifest, pod_end("shop", "b"), v1::Direction::Ingress, None).unwrap();
    let words: Vec<_> = rows
        .iter()
        .filter(|row| row.other.as_ref().unwrap().name == "shop/a")
        .map(|row| (row.words.split(':').next().unwrap(), row.ports[0].first))
        .collect();
    assert_eq!(words.len(), 2, "{rows:#?}");
    assert!(words.contains(&("over IPv4", 80)) && words.contains(&("over IPv6", 90)), "{words:?}");
    let request = v1::MatrixRequest { namespace: "shop".into(), ports: Vec::new() };
    let rows = matrix(&manifest.cluster(), &request, &ALL).unwrap();
    let is_cell = |row: &&v1::MatrixRow| {
        let name = |end: &Option<v1::ShownEnd>| end.as_ref().unwrap().name.clone();
        (name(&row.from), name(&row.to)) == ("shop/a".to_owned(), "shop/b".to_owned())
    };
    let cells: Vec<_> = rows.iter().filter(is_cell).collect();
    assert_eq!(cells.len(), 1, "{cells:#?}");
    assert_eq!(cells[0].ports.iter().map(|atom| atom.first).collect::<Vec<_>>(), [80, 90]);
}

#[test]
fn a_matrix_and_what_is_open_are_by_workload_too() {
    let manifest = sets();
    let request = v1::MatrixRequest { namespace: "shop".into(), ports: Vec::new() };
    let rows = matrix(&manifest.cluster(), &request, &ALL).unwrap();
    let cell = |from: &str, to: &str| {
        let is_asked = |row: &&v1::MatrixRow| {
            let name = |end: &Option<v1::ShownEnd>| end.as_ref().unwrap().name.clone();
            (name(&row.from), name(&row.to)) == (from.to_owned(), to.to_owned())
        };
        rows.iter().find(is_asked).unwrap_or_else(|| panic!("no {from} to {to} in {rows:#?}"))
    };
    assert_eq!(cell("shop/sts/same", "shop/db-0").ports.len(), 1);
    assert_eq!(cell(MIXED, "shop/db-0").from.as_ref().unwrap().pods, 2);
    assert_eq!(cell("shop/mixed-2", "shop/db-0").ports.len(), 2);

    let all = open(&manifest.cluster(), &v1::ListOpenRequest { namespace: "shop".into() }, &ALL).unwrap();
    let counts: Vec<(&str, u32, u32, u32)> = all
        .iter()
        .map(|row| (&*row.workload.as_ref().unwrap().name, row.pods, row.open_ingress, row.open_egress))
        .collect();
    assert_eq!(counts, [("shop/single", 1, 1, 1), ("shop/sts/mixed", 3, 2, 3), ("shop/sts/same", 3, 3, 3)]);
}

/// `count` pods, each of a namespace of its own or all of one, that may all reach `target/db`; where they `differ`, each on
/// a port of its own.
fn crowd(count: u32, is_apart: bool, differ: bool) -> Manifest {
    let mut items = Items::new();
    items.pod("target", "db", None, "app: db", "");
    let mut rules = String::new();
    for pod in 0..count {
        let namespace = if is_apart { format!("ns{pod}") } else { "crowd".to_owned() };
        items.pod(&namespace, &format!("pod-{pod}"), None, &format!("number: n{pod}"), "");
        if differ {
            let from =
                format!("{{namespaceSelector: {{}}, podSelector: {{matchLabels: {{number: n{pod}}}}}}}");
            write!(rules, "{{from: [{from}], ports: [{{port: {}}}]}}, ", pod + 1).unwrap();
        }
    }
    let ingress = if differ { rules } else { "{from: [{namespaceSelector: {}}]}".to_owned() };
    items.policy("target", "db", &format!("podSelector: {{}}, ingress: [{ingress}]"));
    items.read()
}

fn who_can(manifest: &Manifest, port: Option<u32>) -> Result<Vec<v1::ReachRow>, AskError> {
    asked(manifest, pod_end("target", "db"), v1::Direction::Ingress, port)
}

#[test]
fn rows_are_by_namespace_where_workloads_are_too_many_and_else_by_what_passes() {
    let rows = who_can(&crowd(1_000, false, false), None).unwrap();
    assert_eq!(rows.len(), 1_000);
    let rows = who_can(&crowd(1_001, false, false), None).unwrap();
    assert_eq!(others(&rows), [("namespace crowd", 1_001)]);
    let rows = who_can(&crowd(1_001, true, false), None).unwrap();
    assert_eq!(others(&rows), [("1001 pods of 1001 namespaces", 1_001)]);
    assert!(rows[0].words.ends_with("as ns0/pod-0 for one"), "{}", rows[0].words);
}

#[test]
fn an_answer_of_too_many_rows_is_refused_and_the_question_of_one_port_is_answered() {
    let manifest = crowd(1_001, true, true);
    let Err(AskError::TooLarge(told)) = who_can(&manifest, None) else { panic!("too many were answered") };
    assert_eq!(told, "more than 1000 answers differ: ask about one port (`:PORT`), or with `explain`");
    let rows = who_can(&manifest, Some(7)).unwrap();
    assert_eq!(others(&rows), [("ns6/pod-6", 1)]);
}

#[test]
fn an_end_of_too_many_pods_is_refused() {
    let manifest = crowd(5_001, false, false);
    let selection = v1::PodSelection { namespace: "crowd".into(), selector: "number".into() };
    let Err(AskError::TooLarge(told)) =
        asked(&manifest, Asked::Selection(selection), v1::Direction::Egress, None)
    else {
        panic!("too many were answered")
    };
    assert_eq!(
        told,
        "an end of 5001 pods: ask about at most 5000 at once, such as those of one namespace (`-n`)"
    );
}

/// 21 pods that nothing makes agree, each of which 1,000 others may reach on a port of its own.
#[test]
fn many_ends_of_many_rows_are_refused_together() {
    let mut items = Items::new();
    for end in 1..=21 {
        items.pod("target", &format!("end-{end}"), None, &format!("end: n{end}, kind: end"), "");
        let spec = format!(
            "podSelector: {{matchLabels: {{end: n{end}}}}}, ingress: [\
             {{from: [{{namespaceSelector: {{}}}}], ports: [{{port: {end}}}]}}]"
        );
        items.policy("target", &format!("end-{end}"), &spec);
    }
    for pod in 0..970 {
        items.pod("crowd", &format!("pod-{pod}"), None, "app: crowd", "");
    }
    let selection = v1::PodSelection { namespace: "target".into(), selector: "kind=end".into() };
    let manifest = items.read();
    let asked_about =
        |port| asked(&manifest, Asked::Selection(selection.clone()), v1::Direction::Ingress, port);
    let Err(AskError::TooLarge(told)) = asked_about(None) else { panic!("too many were answered") };
    assert_eq!(told, "more than 20000 answers differ: ask about one pod, one namespace (`-n`) or one port");
    assert_eq!(asked_about(Some(7)).unwrap().len(), 970 + 20);
}

/// Two nodes, one of them with addresses; a pod on the first that lets in one address of the second alone.
#[test]
fn nodes_are_ends_of_explain_who_can_and_reach() {
    let mut items = Items::new();
    items.add("{apiVersion: v1, kind: Node, metadata: {name: n1}}");
    items.add(
        "{apiVersion: v1, kind: Node, metadata: {name: n2}, status: {addresses: [\
         {type: InternalIP, address: 192.0.2.2}, {type: ExternalIP, address: 198.51.100.2}]}}",
    );
    items.pod("shop", "db", None, "app: db", "10.0.0.1");
    items.policy(
        "shop",
        "db",
        "podSelector: {}, policyTypes: [Ingress, Egress], \
         ingress: [{from: [{ipBlock: {cidr: 192.0.2.2/32}}], ports: [{port: 5432}]}]",
    );
    let manifest = items.read();
    let node = |name: &str| Asked::Node(name.into());
    let explained = |from: Asked, to: Asked| {
        let end = |end| Some(v1::End { end: Some(end) });
        let port = Some(v1::Port { protocol: "TCP".into(), number: 5432 });
        let request = v1::ExplainRequest { from: end(from), to: end(to), port };
        let answer = explain(&manifest.cluster(), &request, &ALL).unwrap();
        let told = |pair: &v1::Explanation| {
            let name = |end: &Option<v1::ShownEnd>| {
                let end = end.as_ref().unwrap();
                format!("{} {}", end.name, end.address.clone().unwrap_or_default())
            };
            format!("{} -> {} {}", name(&pair.from), name(&pair.to), pair.allowed)
        };
        answer.explanations.iter().map(told).collect::<Vec<_>>()
    };
    let db = || pod_end("shop", "db");
    assert_eq!(explained(node("n1"), db()), ["node/n1  -> shop/db 10.0.0.1 true"]);
    assert_eq!(
        explained(node("n2"), db()),
        ["node/n2 192.0.2.2 -> shop/db 10.0.0.1 true", "node/n2 198.51.100.2 -> shop/db 10.0.0.1 false",]
    );
    assert!(explained(db(), node("n1")).iter().all(|it| it.ends_with("true")));
    assert!(explained(db(), node("n2")).iter().all(|it| it.ends_with("false")));

    let rows = asked(&manifest, db(), v1::Direction::Ingress, None).unwrap();
    assert_eq!(others(&rows), [("node/n1", 0), ("node/n2", 0)]);
    assert_eq!(rows[1].other.as_ref().unwrap().address.as_deref(), Some("192.0.2.2"));
    let rows = asked(&manifest, node("n2"), v1::Direction::Egress, None).unwrap();
    let to_db: Vec<_> = rows.iter().filter(|row| row.other.as_ref().unwrap().name == "shop/db").collect();
    assert_eq!(to_db.len(), 1, "{rows:#?}");
    assert_eq!(to_db[0].end.as_ref().unwrap().address.as_deref(), Some("192.0.2.2"));
    let error = asked(&manifest, node("n3"), v1::Direction::Egress, None).unwrap_err();
    assert!(matches!(&error, AskError::NotFound(told) if told == "no node \"n3\""), "{error}");
}
