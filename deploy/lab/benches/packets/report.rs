//! The table: medians, and ratios that were taken within a round.

use std::io::Write as _;

use flock_lab::figures::{Cell, Table, machine, summary};

use crate::layouts::Layout;

/// What ours may cost a new connection at most, relative to one conntrack rule.
const BAR: f64 = 1.06;
/// What many policies may cost a new connection at most, relative to the fewest.
const GROWTH: f64 = 1.05;

/// The figures of one layout in one round, in repetitions per second.
pub(crate) struct Sample {
    pub(crate) layout: Layout,
    pub(crate) round: usize,
    pub(crate) connections: f64,
    pub(crate) requests: f64,
}

type Figure = fn(&Sample) -> f64;

pub(crate) fn print(layouts: &[Layout], samples: &[Sample], markdown: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let rounds = samples.iter().map(|sample| sample.round).max().unwrap_or(0);
    writeln!(out, "Cost of a packet's way through the node; {rounds} rounds, medians")?;
    writeln!(out, "{}", machine())?;
    writeln!(
        out,
        "Cost is time relative to no ruleset; then relative to one conntrack rule, and to the fewest"
    )?;
    writeln!(out, "policies on such ports.\n")?;
    drop(out);
    let mut table = Table::new([
        "ruleset",
        "conn/s",
        "cost",
        "/ conntrack",
        "/ fewest",
        "req/s",
        "cost",
        "/ conntrack",
        "/ fewest",
    ]);
    for layout in layouts {
        let row = |figure: Figure, bars: bool| -> [Cell; 4] {
            let rate = summary(samples.iter().filter(|sample| sample.layout == *layout).map(figure)).median;
            let of = |base: &Layout| ratio(samples, base, layout, figure);
            let relative = of(&Layout::Conntrack);
            let fewest = fewest(layouts, layout).map(of);
            // The bar on many policies is relative to the fewest.
            let ours = match layout {
                Layout::Ours(_) => true,
                Layout::Policies(..) => fewest.is_none(),
                _ => false,
            };
            [
                format!("{rate:.0}").into(),
                format!("{:.2}", of(&Layout::None)).into(),
                limited(relative, (bars && ours).then_some(BAR)),
                fewest.map_or_else(|| "".into(), |ratio| limited(ratio, bars.then_some(GROWTH))),
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
    Ok(table.print(markdown)?)
}

fn limited(ratio: f64, bar: Option<f64>) -> Cell {
    Cell::at_most(format!("{ratio:.3}"), ratio, bar)
}

/// The layout with the fewest policies on such ports, if this is one with more.
fn fewest<'a>(layouts: &'a [Layout], layout: &Layout) -> Option<&'a Layout> {
    let Layout::Policies(count, ports) = layout else { return None };
    let similar = layouts.iter().filter_map(|other| match other {
        Layout::Policies(fewer, same) if same == ports && fewer < count => Some((fewer, other)),
        _ => None,
    });
    similar.min_by_key(|(fewer, _)| **fewer).map(|(_, other)| other)
}

/// The median over rounds of how much longer `layout` takes than `base` in the same round.
fn ratio(samples: &[Sample], base: &Layout, layout: &Layout, figure: Figure) -> f64 {
    let of = |wanted: &Layout, round: usize| {
        samples.iter().find(|sample| sample.layout == *wanted && sample.round == round).map(figure)
    };
    let mut rounds: Vec<usize> = samples.iter().map(|sample| sample.round).collect();
    rounds.dedup();
    summary(rounds.into_iter().filter_map(|round| Some(of(base, round)? / of(layout, round)?))).median
}
