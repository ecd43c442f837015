//! The kernel's table as comparable lines, and what it has dropped.

use flock_lab::Node;
use flock_shared::{MARKER_PREFIX, PAST_PREFIX};
use serde_json::Value;

/// The table of a node as nft lists it, without what differs between equal tables: handles, counts, what
/// packets have put into sets, the order of objects and of elements, and markers that were left behind. One line for each object; rules stay in their order. Empty if there is no table.
pub(crate) fn table(node: &Node) -> Vec<String> {
    let Ok(listed) = node.run("nft", &["-j", "-s", "list", "table", "inet", "flock_netpol"], "") else {
        return Vec::new();
    };
    let mut objects = objects(&listed);
    let past = past(&objects);
    let of = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    objects.retain(|(kind, object)| match kind.as_str() {
        "chain" => !of(object, "name").starts_with(PAST_PREFIX),
        "rule" => !of(object, "chain").starts_with(PAST_PREFIX),
        _ => !past.iter().any(|revision| of(object, "name") == format!("{MARKER_PREFIX}{revision}")),
    });
    // Stable, so the rules of a chain keep their order.
    objects.sort_by_key(|(kind, object)| {
        let name = if kind == "rule" { &object["chain"] } else { &object["name"] };
        (kind.clone(), name.as_str().unwrap_or_default().to_owned())
    });
    objects.into_iter().map(|(kind, object)| format!("{kind} {object}")).collect()
}

/// The revisions that the table of a node has gone on from and still holds markers of.
pub(crate) fn left_behind(node: &Node) -> Vec<String> {
    let listed = node.run("nft", &["-j", "-s", "list", "table", "inet", "flock_netpol"], "");
    past(&objects(&listed.unwrap()))
}

fn past(objects: &[(String, Value)]) -> Vec<String> {
    let chains = objects.iter().filter(|(kind, _)| kind == "chain");
    let names = chains.filter_map(|(_, chain)| chain["name"].as_str()?.strip_prefix(PAST_PREFIX));
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    names
}

/// What of two tables is in one only: `- ` in the first, `+ ` in the second. A rule in another place counts as gone.
pub(crate) fn differences(first: &[String], second: &[String]) -> Vec<String> {
    let only = |mark: &str, these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).map(|line| format!("{mark} {line}")).collect()
    };
    let mut found = [only("-", first, second), only("+", second, first)].concat();
    if found.is_empty() && first != second {
        found.push("the same lines in another order".to_owned());
    }
    found
}

/// How many packets the chains have dropped in which a direction ends, that is the chains with names like
/// `ingress_denied` and `ingress_unkept4`; `None` if there is no table.
pub(crate) fn denied(node: &Node, direction: &str) -> Option<u64> {
    let listed = node.run("nft", &["-j", "list", "table", "inet", "flock_netpol"], "").ok()?;
    let ends = ["denied", "unkept", "portless"].map(|end| format!("{direction}_{end}"));
    let of = |(kind, rule): &(String, Value)| {
        let chain = rule["chain"].as_str().unwrap_or_default();
        let parts = rule["expr"].as_array().filter(|_| kind == "rule")?;
        let drops = ends.iter().any(|end| chain.starts_with(end))
            && parts.iter().any(|part| part.get("drop").is_some());
        parts.iter().find_map(|part| part["counter"]["packets"].as_u64()).filter(|_| drops)
    };
    Some(objects(&listed).iter().filter_map(of).sum())
}

/// What nft lists, by kind.
fn objects(listed: &str) -> Vec<(String, Value)> {
    let listed: Value = serde_json::from_str(listed).unwrap();
    let entries = listed["nftables"].as_array().unwrap().iter();
    entries
        .flat_map(|entry| entry.as_object().unwrap().clone())
        .filter(|(kind, _)| kind != "metainfo")
        .map(|(kind, mut object)| {
            let fields = object.as_object_mut().unwrap();
            fields.remove("handle");
            // Packets put their flows into these.
            if kind == "set" && fields["name"].as_str().is_some_and(|name| name.contains("_drop")) {
                fields.remove("elem");
            }
            sort_elements(&mut object);
            (kind, object)
        })
        .collect()
}

/// Brings the elements of sets and maps into one order, named and anonymous ones.
fn sort_elements(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                sort_elements(field);
                if matches!(name.as_str(), "elem" | "set")
                    && let Value::Array(elements) = field
                {
                    elements.sort_by_key(ToString::to_string);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(sort_elements),
        _ => {}
    }
}
