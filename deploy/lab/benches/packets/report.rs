//! The table: medians, and ratios that were taken within a round.

use std::io::Write as _;

use crate::layouts::Layout;

/// The figures of one layout in one round, in repetitions per second.
pub(crate) struct Sample {
    pub(crate) layout: Layout,
    pub(crate) round: usize,
    pub(crate) connections: f64,
    pub(crate) requests: f64,
}

type Figure = fn(&Sample) -> f64;

pub(crate) fn print(layouts: &[Layout], samples: &[Sample]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let rounds = samples.iter().map(|sample| sample.round).max().unwrap_or(0);
    writeln!(out, "\nCost of a packet's way through the node; {rounds} rounds, medians.")?;
    writeln!(
        out,
        "Cost is time relative to no ruleset; the last column is cost relative to one conntrack rule.\n"
    )?;
    let header = ["ruleset", "conn/s", "cost", "/ conntrack", "req/s", "cost", "/ conntrack"];
    writeln!(
        out,
        "{:<22} {:>9} {:>6} {:>12}   {:>9} {:>6} {:>12}",
        header[0], header[1], header[2], header[3], header[4], header[5], header[6]
    )?;
    for layout in layouts {
        write!(out, "{:<22}", layout.to_string())?;
        let figures: [Figure; 2] = [|sample| sample.connections, |sample| sample.requests];
        for (index, figure) in figures.into_iter().enumerate() {
            let rate = median(samples.iter().filter(|sample| sample.layout == *layout).map(figure));
            let [cost, relative] =
                [Layout::None, Layout::Conntrack].map(|base| ratio(samples, &base, layout, figure));
            let gap = if index == 0 { "" } else { "  " };
            write!(out, "{gap} {rate:>9.0} {cost:>6.2} {relative:>12.3}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The median over rounds of how much longer `layout` takes than `base` in the same round.
fn ratio(samples: &[Sample], base: &Layout, layout: &Layout, figure: Figure) -> f64 {
    let of = |wanted: &Layout, round: usize| {
        samples.iter().find(|sample| sample.layout == *wanted && sample.round == round).map(figure)
    };
    let mut rounds: Vec<usize> = samples.iter().map(|sample| sample.round).collect();
    rounds.dedup();
    median(rounds.into_iter().filter_map(|round| Some(of(base, round)? / of(layout, round)?)))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
