//! One function per answer: a table for people, json or yaml for programs.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use flock_proto::{NodeState, v1};
use flock_shared::NamespaceName;
use prost_types::Timestamp;
use serde::Serialize;

use crate::cli::Format;
use crate::merge::{Asked, Row};
use crate::table::{self, Cell, Tone, cell, colour, paint};
use crate::view;

/// Digits of a revision that a table shows: enough to tell states apart by eye.
const SHORT: usize = 12;

fn serialized(value: &impl Serialize, format: Format) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if format == Format::Yaml {
        out.write_all(serde_saphyr::to_string(value)?.as_bytes())?;
    } else {
        serde_json::to_writer_pretty(&mut out, value)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Nodes; in a table, also what they come to and what else there is to look at.
pub(crate) fn nodes(
    nodes: &[&Row],
    summary: &Summary,
    hint: Option<&str>,
    format: Format,
) -> anyhow::Result<()> {
    if format != Format::Table {
        return serialized(&nodes.iter().map(|row| view::Node::from(*row)).collect::<Vec<_>>(), format);
    }
    let colour = colour();
    let mut out = io::stdout().lock();
    let rows: Vec<Vec<Cell>> = nodes.iter().map(|row| node_row(row)).collect();
    table::write(&mut out, &NODE_HEADING, &rows, colour)?;
    writeln!(out, "\n{}", paint(&summary.words, summary.tone, colour))?;
    if let Some(hint) = hint {
        writeln!(out, "{}", paint(hint, Tone::Bad, colour))?;
    }
    Ok(())
}

/// What nodes come to, in a line.
pub(crate) struct Summary {
    words: String,
    tone: Tone,
}

/// What all that were asked about come to.
pub(crate) fn summary(nodes: &[&Row], Asked { asked, total }: Asked) -> Summary {
    let current = nodes.iter().filter(|row| row.is_current()).count();
    let tone = if current == nodes.len() { Tone::Good } else { Tone::Warning };
    let mut words = format!("{current} of {} nodes enforce the desired revision", nodes.len());
    // Apart from those that fail: where agents are put on some nodes first, the others have none.
    match nodes.iter().filter(|row| row.state == NodeState::NoAgent).count() {
        0 => {}
        1 => words.push_str("; 1 has no agent"),
        count => words.push_str(&format!("; {count} have no agent")),
    }
    match nodes.iter().filter(|row| row.is_not_known()).count() {
        0 => {}
        1 => words.push_str("; 1 is not known"),
        count => words.push_str(&format!("; {count} are not known")),
    }
    match total {
        // Of one there is nothing to say.
        Some(1) => {}
        Some(total) => words.push_str(&format!("; asked {asked} of {total} replicas")),
        // How many there are is not known only of a single URL, whose compiler does not tell.
        None => words.push_str("; asked 1 replica"),
    }
    Summary { words, tone }
}

const NODE_HEADING: [&str; 10] =
    ["NODE", "STATE", "DESIRED", "APPLIED", "SINCE", "BEHIND SINCE", "TOOK", "ISOLATED", "DRIFTS", "ERROR"];

const fn tone(state: NodeState) -> Tone {
    match state {
        NodeState::Current => Tone::Good,
        NodeState::Behind | NodeState::NoAgent => Tone::Warning,
        NodeState::NotKnown => Tone::Dim,
        NodeState::Failing
        | NodeState::Closed
        | NodeState::TooOld
        | NodeState::NotJudged
        | NodeState::Unknown
        | NodeState::Offline => Tone::Bad,
    }
}

fn node_row(row: &Row) -> Vec<Cell> {
    let status = &row.status;
    // A revision has 32 digits, so only one that is not known is too short.
    let short = |revision: &str| revision.get(..SHORT).unwrap_or("-").to_owned();
    let error = view::outcome(status).map(|outcome| format!("{outcome}: {}", status.last_error));
    let others = || {
        let too_old = status.too_old.then_some(view::TOO_OLD);
        let closed = Some(status.closed.as_str()).filter(|words| !words.is_empty());
        too_old
            .into_iter()
            .chain(closed)
            .chain(status.not_judged.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let error = error.unwrap_or_else(others);
    // Seconds are enough for people.
    let since = |at: Option<Timestamp>| {
        at.map_or_else(|| "-".to_owned(), |at| Timestamp { nanos: 0, ..at }.to_string())
    };
    let drifts = match (row.is_not_known(), status.drifts) {
        (true, _) => cell("-", Tone::Dim),
        (false, 0) => cell("0", Tone::Dim),
        (false, drifts) => cell(drifts.to_string(), Tone::Warning),
    };
    vec![
        cell(&status.node, Tone::Plain),
        cell(row.state.as_str(), tone(row.state)),
        cell(short(&status.desired_revision), Tone::Plain),
        cell(short(&status.applied_revision), Tone::Plain),
        cell(since(status.applied_since), Tone::Dim),
        cell(since(status.behind_since), Tone::Warning),
        cell(view::took_ms(status).map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")), Tone::Dim),
        cell(status.isolated_pods.to_string(), Tone::Plain),
        drifts,
        cell(error, Tone::Bad),
    ]
}

/// A row of a table that grows: columns are as wide as the widest cells that are usual, as later rows are not known yet.
fn growing(node: usize, cells: impl IntoIterator<Item = (String, Tone)>) -> String {
    let widths = [node.max(4), 10, SHORT, SHORT, 20, 20, 9, 8, 6];
    let mut line = String::new();
    for (index, (text, tone)) in cells.into_iter().enumerate() {
        let width = widths.get(index).copied().unwrap_or(0);
        let padding = " ".repeat(width.saturating_sub(text.chars().count()) + 2);
        line.push_str(&paint(&text, tone, colour()));
        line.push_str(&padding);
    }
    format!("{}\n", line.trim_end())
}

/// Begins what grows by a line for each change of a node; `node`: how long names are.
pub(crate) fn head(node: usize, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Table => write(&growing(node, NODE_HEADING.map(|text| (text.to_owned(), Tone::Dim)))),
        Format::Json | Format::Yaml => Ok(()),
    }
}

/// What a node looks like there.
pub(crate) fn line(row: &Row, node: usize, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Table => growing(node, node_row(row).into_iter().map(Cell::into_parts)),
        Format::Json => format!("{}\n", serde_json::to_string(&view::Node::from(row))?),
        Format::Yaml => format!("---\n{}", serde_saphyr::to_string(&view::Node::from(row))?),
    })
}

/// What a node looks like there that is gone.
pub(crate) fn gone(name: &str, node: usize, format: Format) -> anyhow::Result<String> {
    let entry = BTreeMap::from([("node", name), ("state", "gone")]);
    Ok(match format {
        Format::Table => growing(node, [(name.to_owned(), Tone::Plain), ("gone".to_owned(), Tone::Dim)]),
        Format::Json => format!("{}\n", serde_json::to_string(&entry)?),
        Format::Yaml => format!("---\n{}", serde_saphyr::to_string(&entry)?),
    })
}

/// Writes what was made as a whole.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// A script: as nft reads it, or with its revision and hash.
pub(crate) fn script(response: &v1::GetScriptResponse, format: Format) -> anyhow::Result<()> {
    if format == Format::Table {
        // As it is: `nft` is to read it, and its SHA-256 is of these bytes, which are ASCII.
        return Ok(io::stdout().lock().write_all(&response.script)?);
    }
    let script = view::Script {
        revision: &response.revision,
        sha256: response.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        script: String::from_utf8_lossy(&response.script).into_owned(),
    };
    serialized(&script, format)
}

/// Problems, of a namespace or of all.
pub(crate) fn problems(
    problems: &[v1::Problem],
    namespace: Option<&NamespaceName>,
    format: Format,
) -> anyhow::Result<()> {
    if format != Format::Table {
        return serialized(&problems.iter().map(view::Problem::from).collect::<Vec<_>>(), format);
    }
    let mut out = io::stdout().lock();
    if problems.is_empty() {
        let scope = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        writeln!(out, "{}", paint(&format!("no problems{scope}"), Tone::Good, colour()))?;
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = problems
        .iter()
        .map(|problem| {
            vec![
                cell(&problem.source, Tone::Dim),
                cell(&problem.object, Tone::Plain),
                cell(&problem.field, Tone::Plain),
                cell(&problem.message, Tone::Bad),
                cell(&problem.consequence, Tone::Warning),
            ]
        })
        .collect();
    Ok(table::write(&mut out, &["SOURCE", "OBJECT", "FIELD", "PROBLEM", "THEREFORE"], &rows, colour())?)
}

/// An output.
pub(crate) fn output(response: v1::GetOutputResponse, format: Format) -> anyhow::Result<()> {
    let output = view::Output::from(response);
    if format != Format::Table {
        return serialized(&output, format);
    }
    let colour = colour();
    let mut out = io::stdout().lock();
    let title = |text: &str| paint(text, Tone::Dim, colour);
    writeln!(out, "{} {}   {} {}\n", title("node"), output.node, title("revision"), output.revision)?;
    let rows: Vec<Vec<Cell>> = output
        .subjects
        .iter()
        .map(|subject| {
            let [ingress, egress] = [&subject.ingress, &subject.egress].map(isolation);
            vec![
                cell(&subject.address, Tone::Plain),
                cell(subject.pods.join(", "), Tone::Plain),
                ingress,
                egress,
            ]
        })
        .collect();
    table::write(&mut out, &["ADDRESS", "POD", "INGRESS", "EGRESS"], &rows, colour)?;
    let rows: Vec<Vec<Cell>> = output.rule_sets.iter().flat_map(rule_rows).collect();
    if !rows.is_empty() {
        writeln!(out)?;
        table::write(&mut out, &["RULE SET", "PORT", "PEERS"], &rows, colour)?;
    }
    let rows: Vec<Vec<Cell>> = output
        .address_sets
        .iter()
        .map(|set| {
            let addresses = set.addresses.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
            let more = set.addresses.len().saturating_sub(4);
            let addresses = if more > 0 { format!("{addresses} and {more} more") } else { addresses };
            vec![
                cell(&set.name, Tone::Plain),
                cell(set.selectors.join("; "), Tone::Plain),
                cell(addresses, Tone::Plain),
            ]
        })
        .collect();
    if !rows.is_empty() {
        writeln!(out)?;
        table::write(&mut out, &["ADDRESS SET", "SELECTS", "ADDRESSES"], &rows, colour)?;
    }
    let rows: Vec<Vec<Cell>> = output
        .anchors
        .iter()
        .map(|anchor| {
            vec![cell(&anchor.interface, Tone::Plain), cell(anchor.addresses.join(", "), Tone::Plain)]
        })
        .collect();
    if !rows.is_empty() {
        writeln!(out)?;
        table::write(&mut out, &["INTERFACE", "SOURCES"], &rows, colour)?;
    }
    if let Some(unready) = &output.unready {
        let known = format!("{} known addresses", unready.known_addresses.len());
        let plain = |text: &str| cell(text.to_owned(), Tone::Plain);
        let (cidrs, expected) = (unready.pod_cidrs.join(", "), unready.expected.join(", "));
        let row = [&cidrs, &known, unready.ingress, unready.egress, &expected].map(|text: &str| plain(text));
        writeln!(out)?;
        let head = ["POD CIDRS", "CLOSED BUT FOR", "INGRESS", "EGRESS", "EXPECTED"];
        table::write(&mut out, &head, &[row.into()], colour)?;
    }
    let rows: Vec<Vec<Cell>> = output.attached.iter().map(attached_row).collect();
    if !rows.is_empty() {
        writeln!(out)?;
        table::write(&mut out, &["ATTACHED BY CNI", "ADDRESSES", "INTERFACE"], &rows, colour)?;
    }
    Ok(())
}

fn attached_row(sandbox: &view::AttachedPod) -> Vec<Cell> {
    let addresses = match sandbox.detached {
        true => cell("gone", Tone::Dim),
        false => cell(sandbox.addresses.join(", "), Tone::Plain),
    };
    let interface = sandbox.interface.as_deref().unwrap_or("-");
    vec![cell(&sandbox.pod, Tone::Plain), addresses, cell(interface, Tone::Plain)]
}

fn isolation(isolation: &view::Isolation) -> Cell {
    match (isolation.isolated, isolation.rule_sets.as_slice()) {
        (false, _) => cell("open", Tone::Good),
        (true, []) => cell("closed", Tone::Bad),
        (true, rule_sets) => cell(rule_sets.join(" and "), Tone::Warning),
    }
}

fn rule_rows(rules: &view::RuleSet) -> Vec<Vec<Cell>> {
    let peers = |peers: &view::Peers| {
        let pods = peers.address_set.iter().map(|name| format!("pods {name}"));
        pods.chain(peers.blocks.iter().cloned()).collect::<Vec<_>>().join(", ")
    };
    let mut rows: Vec<(String, String)> = Vec::new();
    rows.push(("any".to_owned(), peers(&rules.any_port)));
    rows.extend(rules.ports.iter().map(|ports| {
        let range = if ports.first_port == ports.last_port {
            format!("{} {}", ports.protocol, ports.first_port)
        } else {
            format!("{} {}-{}", ports.protocol, ports.first_port, ports.last_port)
        };
        (range, peers(&ports.peers))
    }));
    rows.push(("by name".to_owned(), rules.named_destinations.join(", ")));
    rows.push(("contested".to_owned(), rules.contested.join(", ")));
    rows.retain(|(_, peers)| !peers.is_empty());
    rows.into_iter()
        .enumerate()
        .map(|(index, (ports, peers))| {
            let name = if index == 0 { rules.name.as_str() } else { "" };
            vec![cell(name, Tone::Plain), cell(ports, Tone::Plain), cell(peers, Tone::Plain)]
        })
        .collect()
}
