//! The table: medians, and ratios that were taken within a round.

use std::io::Write as _;

use flock_lab::figures::{Cell, Summary, Table, machine, summary};

use crate::layouts::{Layout, Rules};

/// What ours may cost a new connection at most, relative to one conntrack rule.
const BAR: f64 = 1.06;
/// What the rules for mid-stream packets may cost a new connection at most, relative to the same table without them.
const MID_STREAM: f64 = 1.005;
/// What taking down drops may cost a packet that is accepted, relative to the same table without.
const ACCEPTED: f64 = 1.01;
/// What many policies may cost a new connection at most, relative to the fewest.
const GROWTH: f64 = 1.05;

/// The figures of one layout in one round, in repetitions per second.
pub(crate) struct Sample {
    pub(crate) layout: Layout,
    pub(crate) round: usize,
    pub(crate) connections: f64,
    pub(crate) requests: f64,
    /// Datagrams of one flow that are dropped, and of as many flows as there are datagrams.
    pub(crate) dropped: Option<f64>,
    pub(crate) scanned: Option<f64>,
}

type Figure = fn(&Sample) -> f64;

pub(crate) fn print(layouts: &[Layout], samples: &[Sample], markdown: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let rounds = samples.iter().map(|sample| sample.round).max().unwrap_or(0);
    writeln!(out, "Cost of a packet's way through the node; {rounds} rounds, medians")?;
    writeln!(out, "{}", machine())?;
    writeln!(
        out,
        "Cost is time relative to no ruleset on the same way; then relative to one conntrack rule; then to the"
    )?;
    writeln!(
        out,
        "base: the fewest policies on such ports, or the same table without rules for mid-stream packets, with the interval"
    )?;
    writeln!(
        out,
        "in which the median lies with a confidence of 95 %; a bar is missed where all of it lies above.\n"
    )?;
    drop(out);
    let mut table = Table::new([
        "ruleset",
        "conn/s",
        "cost",
        "/ conntrack",
        "/ base",
        "req/s",
        "cost",
        "/ conntrack",
        "/ base",
    ]);
    for layout in layouts {
        let row = |figure: Figure, bars: bool| -> [Cell; 4] {
            let rate = summary(samples.iter().filter(|sample| sample.layout == *layout).map(figure)).median;
            let of = |base: &Layout| ratio(samples, base, layout, figure);
            let relative = of(&layout.with(Rules::Conntrack)).median;
            let base = base(layouts, layout);
            let to_base = base.as_ref().map(|(base, bar)| (of(base), *bar));
            let is_many = matches!(layout.rules, Rules::Policies(..)) && base.is_some();
            let ours = matches!(layout.rules, Rules::Ours(_) | Rules::Policies(..)) && !is_many;
            [
                format!("{rate:.0}").into(),
                format!("{:.2}", of(&layout.with(Rules::None)).median).into(),
                limited(relative, (bars && ours).then_some(BAR)),
                to_base.map_or_else(|| "".into(), |(ratio, bar)| sure(ratio, bars.then_some(bar))),
            ]
        };
        let [rate, cost, relative, growth] = row(|sample| sample.connections, true);
        let [requests, request_cost, request_relative, request_growth] = row(|sample| sample.requests, false);
        table.row([
            layout.to_string().into(),
            rate,
            cost,
            relative,
            growth,
            requests,
            request_cost,
            request_relative,
            request_growth,
        ]);
    }
    table.print(markdown)?;
    drops(layouts, samples, markdown)
}

/// What taking down drops costs, where a layout without is measured, too.
fn drops(layouts: &[Layout], samples: &[Sample], markdown: bool) -> anyhow::Result<()> {
    let mut table = Table::new(["drops on / off", "off, a second", "on, a second", "cost"]);
    for off in layouts {
        let Rules::WithoutDrops(pods) = off.rules else { continue };
        let on = off.with(Rules::Ours(pods));
        let rows: [(&str, Figure, Option<f64>); 4] = [
            ("new connections", |sample| sample.connections, Some(ACCEPTED)),
            ("requests", |sample| sample.requests, Some(ACCEPTED)),
            ("dropped, one flow", |sample| sample.dropped.unwrap_or(f64::NAN), None),
            ("dropped, a flow each", |sample| sample.scanned.unwrap_or(f64::NAN), None),
        ];
        for (name, figure, bar) in rows {
            let rate = |layout: &Layout| {
                let of = samples.iter().filter(|sample| sample.layout == *layout).map(figure);
                format!("{:.0}", summary(of.filter(|rate| rate.is_finite())).median)
            };
            let ratio = ratio(samples, off, &on, figure);
            table.row([name.into(), rate(off).into(), rate(&on).into(), sure(ratio, bar)]);
        }
    }
    if layouts.iter().any(|layout| matches!(layout.rules, Rules::WithoutDrops(_))) {
        writeln!(std::io::stdout())?;
        table.print(markdown)?;
    }
    Ok(())
}

fn limited(ratio: f64, bar: Option<f64>) -> Cell {
    Cell::at_most(format!("{ratio:.3}"), ratio, bar)
}

fn sure(ratio: Summary, bar: Option<f64>) -> Cell {
    let (low, high) = ratio.interval;
    Cell::at_most(format!("{:.3} ({low:.3}–{high:.3})", ratio.median), low, bar)
}

/// The layout that this one is to be compared with closely, and what it may cost relative to that: the one with the
/// fewest policies on such ports, or the same without rules for mid-stream packets.
fn base(layouts: &[Layout], layout: &Layout) -> Option<(Layout, f64)> {
    match &layout.rules {
        Rules::Ours(pods) => {
            let without = layout.with(Rules::WithoutMidStream(*pods));
            layouts.contains(&without).then_some((without, MID_STREAM))
        }
        Rules::Policies(count, ports) => {
            let fewer = layouts.iter().filter_map(|other| match &other.rules {
                Rules::Policies(fewer, same) if same == ports && fewer < count => Some((*fewer, other)),
                _ => None,
            });
            fewer.min_by_key(|(fewer, _)| *fewer).map(|(_, other)| (other.clone(), GROWTH))
        }
        _ => None,
    }
}

/// How much longer, round for round, `layout` takes than `base`.
fn ratio(samples: &[Sample], base: &Layout, layout: &Layout, figure: Figure) -> Summary {
    let of = |wanted: &Layout, round: usize| {
        samples.iter().find(|sample| sample.layout == *wanted && sample.round == round).map(figure)
    };
    let mut rounds: Vec<usize> = samples.iter().map(|sample| sample.round).collect();
    rounds.dedup();
    let ratios = rounds.into_iter().filter_map(|round| Some(of(base, round)? / of(layout, round)?));
    summary(ratios.filter(|ratio| ratio.is_finite()))
}
