//! The agent's trials hold every kind of object and statement that scripts do: `node-agent/src/trial.nft` those of the
//! goldens, `trial_bridge.nft` those of the table of family bridge, of which objects alone tell nothing.
//!
//! They are made of them: each kind once, with what it refers to. To accept what they come to now:
//! `BLESS=1 cargo test -p flock-compiler --test trial`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use flock_compiler_core::object::{
    Bridge, BridgeNf, Facts, HostInterface, Lifecycle, Node, Pod, PodCidr, PodNetwork, Policy, PolicyBody,
    PolicyRules,
};
use flock_compiler_core::sorted::Sorted;
use flock_compiler_core::{Change, Edit, Operator, Requirement, Translator, render};
use flock_shared::{BRIDGE_TABLE, NodeName, PodKey, PolicyKey, TABLE};

/// A set, a map or a chain.
#[derive(Debug, Clone, Default)]
struct Object {
    kind: String,
    name: String,
    /// What it is: `typeof` and `flags`.
    head: Vec<String>,
    elements: Vec<String>,
    rules: Vec<String>,
}

/// The objects of a table in a script, in order.
fn objects(script: &str, table: &str) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    let mut is_ours = false;
    for line in script.lines() {
        let text = line.trim();
        match line.len() - line.trim_start_matches('\t').len() {
            0 => is_ours = text == format!("table {table} {{"),
            _ if !is_ours => {}
            1 if text != "}" => {
                let words: Vec<&str> = text.split(' ').collect();
                let [kind, name, "{"] = words[..] else { panic!("no object: {line}") };
                let (kind, name) = (kind.to_owned(), name.to_owned());
                objects.push(Object { kind, name, ..Object::default() });
            }
            1 => {}
            2 if text.starts_with("elements") || text == "}" => {}
            2 => {
                let object = objects.last_mut().unwrap();
                let part = if object.kind == "chain" { &mut object.rules } else { &mut object.head };
                part.push(text.to_owned());
            }
            _ => {
                let elements = text.trim_end_matches(',').split(", ").map(str::to_owned);
                objects.last_mut().unwrap().elements.extend(elements);
            }
        }
    }
    objects
}

/// The set or map that a word names; what begins alike and has commas is a part of a packet's header.
fn set_of(word: &str) -> Option<&str> {
    word.strip_prefix('@').filter(|name| !name.contains(','))
}

/// What kind of word it is: addresses are all alike, and names, and what is in quotes.
fn class(word: &str) -> String {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let address = |text: &str| match text.parse() {
        Ok(std::net::IpAddr::V4(_)) => Some("v4"),
        Ok(std::net::IpAddr::V6(_)) => Some("v6"),
        Err(_) => None,
    };
    if set_of(word).is_some() {
        return "@set".to_owned();
    }
    if word.starts_with('"') {
        return "name".to_owned();
    }
    if let Some((address, _)) = word.split_once('/').and_then(|(base, length)| Some((address(base)?, length)))
    {
        return format!("{address}/n");
    }
    if let Some((first, last)) = word.split_once('-')
        && (is_number(first) && is_number(last) || address(first).is_some())
    {
        return format!("{}-{}", class(first), class(last));
    }
    match (word, address(word)) {
        (_, Some(family)) => family.to_owned(),
        ("tcp" | "udp" | "sctp", _) => "protocol".to_owned(),
        _ if is_number(word) => "n".to_owned(),
        _ if word.len() > 8 && word.starts_with("0x") && !word.contains('-') => "bytes".to_owned(),
        _ => word.to_owned(),
    }
}

/// The kind of a rule or an element; names of chains count nothing.
fn shape(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let is_chain = out.last().is_some_and(|last| last == "goto" || last == "jump");
        out.push(if is_chain { "chain".to_owned() } else { class(word) });
    }
    out.join(" ")
}

/// A kind's text in the trial: what it refers to, and itself.
fn sample(object: &Object, text: &str, all: &[Object]) -> String {
    let mut out = String::new();
    let words: Vec<&str> = text.split(' ').collect();
    let targets = words.windows(2).filter(|pair| pair[0] == "goto" || pair[0] == "jump");
    for pair in targets {
        let _ = writeln!(out, "\tchain {} {{\n\t}}", pair[1]);
    }
    for set in words.iter().filter_map(|word| set_of(word)) {
        let set = all.iter().find(|object| object.name == set).expect("a set that is there");
        let _ = writeln!(out, "\t{} {} {{\n\t\t{}\n\t}}", set.kind, set.name, set.head.join("\n\t\t"));
    }
    if object.kind == "chain" {
        let _ = writeln!(out, "\tchain trial {{\n\t\t{text}\n\t}}");
    } else {
        let head = object.head.join("\n\t\t");
        let _ = writeln!(
            out,
            "\t{} {} {{\n\t\t{head}\n\t\telements = {{\n\t\t\t{text}\n\t\t}}\n\t}}",
            object.kind, object.name
        );
    }
    out
}

/// Names say nothing but what refers to what: short ones, in the order of their coming, each kind's its own.
fn renamed(sample: &str, number: usize) -> String {
    let mut names: Vec<String> = Vec::new();
    for object in objects(&format!("table {TABLE} {{\n{sample}}}\n"), TABLE) {
        if !names.contains(&object.name) {
            names.push(object.name);
        }
    }
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut out = String::new();
    for piece in sample.split_inclusive(|letter: char| !is_of_name(letter)) {
        let word = piece.trim_end_matches(|letter: char| !is_of_name(letter));
        match names.iter().position(|name| name == word) {
            Some(place) => out.push_str(&format!("k{number}_{place}{}", &piece[word.len()..])),
            None => out.push_str(piece),
        }
    }
    out
}

/// The goldens.
fn goldens() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "nft"));
    paths.sort();
    paths.into_iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The script of a node with pods of both families on a bridge, of which one is isolated.
fn bridged() -> String {
    let node = NodeName::new("n1").unwrap();
    let cidrs =
        ["10.244.1.0/24", "fd00:10:244:1::/64"].map(|text| PodCidr::new(text.parse().unwrap()).unwrap());
    let bridge = |name: &str, address: &str| Bridge {
        name: name.parse().unwrap(),
        addresses: vec![address.parse().unwrap()],
        links: [format!("v{name}").parse().unwrap()].into(),
        uplinks: [format!("e{name}").parse().unwrap()].into(),
    };
    let facts = Facts {
        bridges: vec![bridge("cni0", "10.244.1.1/24"), bridge("docker0", "172.17.0.1/16")],
        bridge_nf_v4: BridgeNf::On,
        bridge_nf_v6: BridgeNf::On,
        ..Facts::nothing_of(node.clone())
    };
    let pod = |name: &str, number: u8| {
        let addresses = [format!("10.244.1.{number}"), format!("fd00:10:244:1::{number}")];
        let addresses = addresses.map(|text| text.parse().unwrap());
        let interface = HostInterface::Computed(format!("veth{number}").parse().unwrap());
        Change::Pod(Edit::Upsert(Pod {
            key: PodKey::new("shop", name).unwrap(),
            uid: None,
            node: Some(node.clone()),
            scheduled: None,
            owner: Default::default(),
            labels: [("app", name)].into_iter().collect(),
            network: PodNetwork::own(addresses.into(), Some(interface)),
            lifecycle: Lifecycle::Live,
            ports: Sorted::new(),
            faults: Vec::new(),
        }))
    };
    let subjects =
        std::iter::once(Requirement { key: "app".into(), operator: Operator::In(["web".into()].into()) })
            .collect();
    let body = PolicyBody::Understood(PolicyRules { ingress: Some([].into()), egress: Some([].into()) });
    let policy = Policy::new(PolicyKey::new("shop", "deny").unwrap(), subjects, body);
    let mut translator = Translator::new();
    for change in [
        Change::Node(Edit::Upsert(Node { pod_cidrs: cidrs.into(), ..Node::new(node.clone()) })),
        Change::Facts(Edit::Upsert(facts)),
        pod("web", 2),
        pod("api", 3),
        Change::Policy(Edit::Upsert(policy)),
    ] {
        translator.apply(change);
    }
    translator.pass();
    let script = render(&translator.output(&node).unwrap());
    String::from_utf8(script.bytes().to_vec()).unwrap()
}

/// The trial of a table, as scripts make it.
fn trial(scripts: &[String], table: &str, of: &str) -> String {
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    for script in scripts {
        let all = objects(script, table);
        for object in &all {
            let head = object.head.join(", ");
            for rule in object.rules.iter().filter(|rule| !rule.starts_with("type filter hook")) {
                // What is looked up is a kind of its own.
                let set = rule.split(' ').find_map(set_of);
                let set = set.and_then(|name| all.iter().find(|object| object.name == name));
                let of = set.map_or(String::new(), |set| format!(" ({})", set.head.join(", ")));
                let kind = format!("rule {}{of}", shape(rule));
                kinds.entry(kind).or_insert_with(|| sample(object, rule, &all));
            }
            for element in &object.elements {
                let kind = format!("{} {head} {{ {} }}", object.kind, shape(element));
                kinds.entry(kind).or_insert_with(|| sample(object, element, &all));
            }
        }
    }
    let mut out = format!("# Made by compiler/tests/trial.rs of {of}; see there.\n");
    for (number, (kind, sample)) in kinds.iter().enumerate() {
        let _ = write!(out, "## {kind}\n{}", renamed(sample, number));
    }
    out
}

#[test]
fn the_agents_trials_hold_what_scripts_hold() {
    let trials = [
        ("trial.nft", trial(&goldens(), TABLE, "the goldens")),
        ("trial_bridge.nft", trial(&[bridged()], BRIDGE_TABLE, "a node whose pods hang on a bridge")),
    ];
    for (name, made) in trials {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node-agent/src").join(name);
        if std::env::var_os("BLESS").is_some() {
            fs::write(path, made).unwrap();
        } else {
            assert_eq!(fs::read_to_string(path).unwrap_or_default(), made, "see the head of this test");
        }
    }
}
