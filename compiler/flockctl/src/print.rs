//! One function per answer: a table for people, json or yaml for programs.

use std::io::{self, Write as _};

use flock_proto::v1;
use serde::Serialize;

use crate::cli::Format;
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

/// All nodes; in a table, also what else there is to look at.
pub(crate) fn nodes(nodes: &[v1::NodeStatus], hint: Option<&str>, format: Format) -> anyhow::Result<()> {
    if format != Format::Table {
        return serialized(&nodes.iter().map(view::Node::from).collect::<Vec<_>>(), format);
    }
    let colour = colour();
    let mut out = io::stdout().lock();
    let rows: Vec<Vec<Cell>> = nodes.iter().map(node_row).collect();
    table::write(&mut out, &NODE_HEADING, &rows, colour)?;
    let enforcing = nodes.iter().filter(|node| view::is_enforcing(node)).count();
    let summary = format!("{enforcing} of {} nodes enforce the desired revision", nodes.len());
    let tone = if enforcing == nodes.len() { Tone::Good } else { Tone::Warning };
    writeln!(out, "\n{}", paint(&summary, tone, colour))?;
    if let Some(hint) = hint {
        writeln!(out, "{}", paint(hint, Tone::Bad, colour))?;
    }
    Ok(())
}

const NODE_HEADING: [&str; 9] =
    ["NODE", "STATE", "DESIRED", "APPLIED", "SINCE", "TOOK", "ISOLATED", "DRIFTS", "ERROR"];

fn node_row(status: &v1::NodeStatus) -> Vec<Cell> {
    let short = |revision: &str| revision.get(..SHORT).unwrap_or("-").to_owned();
    let failed = view::outcome(status);
    let (state, tone) = match (status.connected, view::is_current(status), &failed) {
        _ if !status.closed.is_empty() => ("closed", Tone::Bad),
        (_, _, Some(_)) => ("failing", Tone::Bad),
        _ if status.unknown => ("unknown", Tone::Bad),
        (true, ..) if !status.not_judged.is_empty() => ("not judged", Tone::Bad),
        (true, true, None) => ("current", Tone::Good),
        (true, false, None) => ("behind", Tone::Warning),
        (false, _, None) if status.agent_version.is_empty() => ("no agent", Tone::Warning),
        (false, ..) => ("offline", Tone::Bad),
    };
    let error = failed.map(|outcome| format!("{outcome}: {}", status.last_error));
    let others = || {
        let closed = Some(status.closed.as_str()).filter(|words| !words.is_empty());
        closed.into_iter().chain(status.not_judged.iter().map(String::as_str)).collect::<Vec<_>>().join("; ")
    };
    let error = error.unwrap_or_else(others);
    // Seconds are enough for people.
    let since = status
        .applied_since
        .map_or_else(|| "-".to_owned(), |at| prost_types::Timestamp { nanos: 0, ..at }.to_string());
    vec![
        cell(&status.node, Tone::Plain),
        cell(state, tone),
        cell(short(&status.desired_revision), Tone::Plain),
        cell(short(&status.applied_revision), Tone::Plain),
        cell(since, Tone::Dim),
        cell(view::took_ms(status).map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")), Tone::Dim),
        cell(status.isolated_pods.to_string(), Tone::Plain),
        cell(status.drifts.to_string(), if status.drifts == 0 { Tone::Dim } else { Tone::Warning }),
        cell(error, Tone::Bad),
    ]
}

/// The status of one node; in a table, each call adds a row.
pub(crate) fn status(status: &v1::NodeStatus, first: bool, format: Format) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        // Column widths are those of the widest cells that are usual, as later rows are not known yet.
        Format::Table => {
            let widths = [status.node.len().max(4), 10, SHORT, SHORT, 20, 9, 8, 6];
            let line = |cells: &[(String, Tone)]| {
                let mut line = String::new();
                for (index, (text, tone)) in cells.iter().enumerate() {
                    let width = widths.get(index).copied().unwrap_or(0);
                    let padding = " ".repeat(width.saturating_sub(text.chars().count()) + 2);
                    line.push_str(&paint(text, *tone, colour()));
                    line.push_str(&padding);
                }
                line.trim_end().to_owned()
            };
            if first {
                writeln!(out, "{}", line(&NODE_HEADING.map(|text| (text.to_owned(), Tone::Dim))))?;
            }
            let cells: Vec<(String, Tone)> = node_row(status).into_iter().map(Cell::into_parts).collect();
            writeln!(out, "{}", line(&cells))?;
        }
        Format::Json => {
            serde_json::to_writer(&mut out, &view::Node::from(status))?;
            writeln!(out)?;
        }
        Format::Yaml => write!(out, "---\n{}", serde_saphyr::to_string(&view::Node::from(status))?)?,
    }
    Ok(out.flush()?)
}

/// A script: as nft reads it, or with its revision and hash.
pub(crate) fn script(response: &v1::GetScriptResponse, format: Format) -> anyhow::Result<()> {
    if format == Format::Table {
        return Ok(io::stdout().lock().write_all(&response.script)?);
    }
    let script = view::Script {
        revision: &response.revision,
        sha256: response.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        script: String::from_utf8_lossy(&response.script).into_owned(),
    };
    serialized(&script, format)
}

/// Problems.
pub(crate) fn problems(problems: &[v1::Problem], format: Format) -> anyhow::Result<()> {
    if format != Format::Table {
        return serialized(&problems.iter().map(view::Problem::from).collect::<Vec<_>>(), format);
    }
    let mut out = io::stdout().lock();
    if problems.is_empty() {
        writeln!(out, "{}", paint("no problems", Tone::Good, colour()))?;
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
