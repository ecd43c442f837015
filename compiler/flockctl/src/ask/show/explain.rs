//! `explain`: the verdict, what each direction says and why, what the nodes' tables do.

use flock_proto::v1;

use super::Screen;
use crate::ask::text;
use crate::table::{Tone, one_line, paint};

/// The whole answer, an explanation after the other.
pub(in crate::ask) fn screen(answer: &v1::ExplainResponse, screen: Screen) -> String {
    let all: Vec<String> = answer.explanations.iter().map(|it| explanation(it, screen)).collect();
    let mut out = all.join("\n");
    for note in &answer.notes {
        out.push_str(&paint(&format!("note: {}", one_line(note)), Tone::Dim, screen.colour));
        out.push('\n');
    }
    out
}

/// `yes` or `no`; where pods of one workload differ, how many of how many.
pub(in crate::ask) fn terse(answer: &v1::ExplainResponse, screen: Screen) -> String {
    let all = answer.explanations.len();
    let allowed = answer.explanations.iter().filter(|it| it.allowed).count();
    let (words, tone) = match allowed {
        // Without any verdict nothing is allowed, as for the exit status.
        _ if allowed == all && all > 0 => ("yes".to_owned(), Tone::Good),
        0 => ("no".to_owned(), Tone::Bad),
        _ => (format!("no: {allowed} of {all} verdicts are yes; `explain` shows each"), Tone::Bad),
    };
    paint(&words, tone, screen.colour) + "\n"
}

fn explanation(it: &v1::Explanation, screen: Screen) -> String {
    let (word, tone) = if it.allowed { ("ALLOWED", Tone::Good) } else { ("DENIED", Tone::Bad) };
    let [from, to] = [&it.from, &it.to].map(|end| one_line(&text::place(end.as_ref())));
    let port = one_line(&text::port(it.port.as_ref()));
    let mut lines = vec![format!("{}  {from}  →  {to}  {port}", paint(word, tone, screen.colour))];
    let directions = [("egress", &it.egress), ("ingress", &it.ingress)];
    let width =
        directions.iter().filter_map(|(_, verdict)| Some(word_of(verdict.as_ref()?).chars().count())).max();
    for (name, verdict) in directions {
        let Some(verdict) = verdict else { continue };
        direction(&mut lines, name, verdict, width.unwrap_or_default(), screen);
    }
    for evidence in &it.evidence {
        lines.push(format!("  {}", one_evidence(evidence, screen)));
    }
    lines.extend(drops(it, screen).map(|line| format!("  {line}")));
    lines.join("\n") + "\n"
}

fn word_of(verdict: &v1::DirectionVerdict) -> &'static str {
    verdict.verdict().word().unwrap_or("not known")
}

fn direction(
    lines: &mut Vec<String>,
    name: &str,
    verdict: &v1::DirectionVerdict,
    width: usize,
    screen: Screen,
) {
    let word = word_of(verdict);
    // Never below zero: the width is that of the wider of both words.
    let padding = " ".repeat(width - word.chars().count());
    let tone = if verdict.passes { Tone::Good } else { Tone::Bad };
    let words = one_line(&reason(verdict));
    lines.push(
        format!("  {name:<7}  {}{padding}  {words}", paint(word, tone, screen.colour)).trim_end().to_owned(),
    );
    if verdict.passes && !screen.wide {
        return;
    }
    misses(lines, &verdict.isolated_by, screen);
    for opinion in &verdict.opinions {
        let Some(verdict) = &opinion.verdict else { continue };
        let peer = opinion.peer.as_ref().map(|peer| format!(" with {peer}")).unwrap_or_default();
        let subject = one_line(&format!("{}{peer}", opinion.subject));
        lines.push(
            format!("    {subject}  {}  {}", word_of(verdict), one_line(&reason(verdict)))
                .trim_end()
                .to_owned(),
        );
        misses(lines, &verdict.isolated_by, screen);
    }
}

/// What is beside the verdict: what allows, or the words for it.
fn reason(verdict: &v1::DirectionVerdict) -> String {
    match (verdict.verdict(), verdict.allowed_by.is_empty()) {
        (v1::Verdict::Allowed, false) => text::cites(&verdict.allowed_by),
        _ => verdict.words.clone(),
    }
}

/// For each rule of each policy how far it came, in columns.
fn misses(lines: &mut Vec<String>, policies: &[v1::IsolatingPolicy], screen: Screen) {
    let rules = |policy: &v1::IsolatingPolicy| {
        policy.rules.iter().map(|rule| one_line(&rule.rule)).collect::<Vec<_>>()
    };
    let names = policies.iter().flat_map(|policy| match policy.rules.is_empty() {
        true => vec![one_line(&policy.policy)],
        false => rules(policy),
    });
    let width = names.map(|name| name.chars().count()).max().unwrap_or_default();
    for policy in policies {
        if policy.rules.is_empty() {
            let note = if policy.note.is_empty() { "has no rules" } else { &policy.note };
            lines.push(format!("    {:<width$}  {}", one_line(&policy.policy), one_line(note)));
            continue;
        }
        for rule in &policy.rules {
            let half = |what: &str, matches: bool, why: &[String]| {
                let (word, tone) = if matches { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
                let padding = " ".repeat(3 - word.len());
                let why = one_line(&why.join("; "));
                let line = format!("{what} {}{padding}  {why}", paint(word, tone, screen.colour));
                line.trim_end().to_owned()
            };
            let peer = half("peer", rule.peer, &rule.peer_why);
            lines.push(format!("    {:<width$}  {peer}", one_line(&rule.rule)));
            lines.push(format!("    {:<width$}  {}", "", half("port", rule.port, &rule.port_why)));
        }
        if !policy.note.is_empty() {
            lines.push(format!("    {:<width$}  {}", "", one_line(&policy.note)));
        }
    }
}

fn one_evidence(evidence: &v1::Evidence, screen: Screen) -> String {
    let words = match evidence.words.is_empty() {
        false => one_line(&evidence.words),
        true => composed(evidence, screen),
    };
    match evidence.contradiction {
        true => {
            let words = format!(
                "CONTRADICTION  {words}: objects and table of one revision differ, which is a bug of flock-netpol; \
                 please report it with `flockctl bundle`"
            );
            paint(&words, Tone::Bad, screen.colour)
        }
        false if !evidence.current => paint(&format!("! {words}"), Tone::Warning, screen.colour),
        false => words,
    }
}

/// The words for what a node says, where it came without.
fn composed(evidence: &v1::Evidence, screen: Screen) -> String {
    let node = one_line(&evidence.node);
    let Some(revision) = &evidence.revision else {
        return format!("{node}: what it enforces is not known");
    };
    let revision = one_line(revision.get(..text::REVISION).unwrap_or(revision));
    let since = evidence.since.as_ref().map(|at| format!(" since {}", text::clock(at, screen.now)));
    let behind = if evidence.current { "" } else { ", which is not what the objects ask for" };
    let table = match (evidence.table_passes, evidence.objects_pass) {
        (None, _) => "; its table is not known here".to_owned(),
        (Some(table), Some(objects)) if table == objects => "; its table says the same".to_owned(),
        (Some(true), _) => "; its table lets it pass".to_owned(),
        (Some(false), _) => "; its table drops it".to_owned(),
    };
    format!("{node} enforces {revision}{}{behind}{table}", since.unwrap_or_default())
}

fn drops(it: &v1::Explanation, screen: Screen) -> Option<String> {
    let packets = it.dropped_packets.filter(|packets| *packets > 0)?;
    let last = it.last_dropped.as_ref().map(|at| format!("last dropped {} ago", text::age(at, screen.now)));
    let since = it.dropped_since.as_ref().map(|at| {
        let clock = text::clock(at, screen.now);
        format!(" since {}", clock.strip_suffix(":00").unwrap_or(&clock))
    });
    let counted = format!("{}{}", text::count(packets, "packet"), since.unwrap_or_default());
    Some(last.into_iter().chain([counted]).collect::<Vec<_>>().join(", "))
}

/// Returns true if any node's table contradicts the objects of its revision.
pub(in crate::ask) fn contradicts(answer: &v1::ExplainResponse) -> bool {
    answer.explanations.iter().flat_map(|it| &it.evidence).any(|evidence| evidence.contradiction)
}

/// Returns true if every flow passes.
pub(in crate::ask) fn passes(answer: &v1::ExplainResponse) -> bool {
    !answer.explanations.is_empty() && answer.explanations.iter().all(|it| it.allowed)
}
