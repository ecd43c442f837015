//! What it takes that the compiler checks itself all the time: the time on a core of the whole process, in turns with the check
//! and without it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use flock_compiler::self_check::SelfCheck;
use flock_lab::figures::{Cell, Progress, Summary, Table, processor_time, summary};
use tokio::time::{sleep, sleep_until};

use crate::churn::{Churn, RATE};
use crate::cluster::Cluster;
use crate::compiler::Compiler;

/// What it may take of a core.
const BAR: f64 = 0.03;
/// How often everything is translated from nothing, unless it is said otherwise.
const INTERVAL: Duration = Duration::from_secs(300);
/// Long enough for what was begun to end.
const REST: Duration = Duration::from_secs(2);

/// The rows; turns of so many seconds each.
pub(crate) async fn table(
    compiler: &Compiler,
    cluster: &Cluster,
    (seconds, turns): (u16, u16),
    progress: &mut Progress,
) -> anyhow::Result<Table> {
    let header = format!("time on cores, with {RATE} events a second");
    let mut table = Table::new([&header, "of a core, mean", "least", "most", "turns"]);
    let length = Duration::from_secs(seconds.into());
    let (mut off, mut on, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns {
        progress.say(format_args!("self-check: turn {turn} of {turns}"));
        let without = share(compiler, cluster, length).await?;
        let check = SelfCheck::new(compiler.engine.clone(), Arc::clone(&compiler.metrics), INTERVAL * 100);
        let looking = tokio::spawn(check.run());
        let with = share(compiler, cluster, length).await?;
        looking.abort();
        sleep(REST).await;
        off.push(without);
        on.push(with);
        differences.push(with - without);
    }
    progress.say("self-check: everything");
    let mut everything = Vec::new();
    for _ in 0..turns {
        everything.push(translated_from_nothing(compiler).await?.as_secs_f64() / INTERVAL.as_secs_f64());
    }
    ensure!(compiler.metrics.contradictions.get() == 0, "it found a contradiction");
    // Of few turns that scatter, the mean: none of them may be left out.
    let total = mean(&differences) + mean(&everything);
    for (name, turns) in [
        ("the process, without the self-check", off),
        ("… with its looks at nodes", on),
        ("looks at nodes", differences),
        ("a translation from nothing every 5 minutes", everything),
    ] {
        let mean = mean(&turns);
        let Summary { least, most, count, .. } = summary(turns);
        let [mean, least, most] = [mean, least, most].map(|it| percent(it).into());
        table.row([name.into(), mean, least, most, count.to_string().into()]);
    }
    let [none, other, third] = [(); 3].map(|()| "".into());
    table.row(["self-check".into(), Cell::at_most(percent(total), total, BAR), none, other, third]);
    Ok(table)
}

/// What the process takes of a core while objects change.
async fn share(compiler: &Compiler, cluster: &Cluster, length: Duration) -> anyhow::Result<f64> {
    let mut churn = Churn::everything(&cluster.events);
    let (began, before) = (Instant::now(), processor_time(std::process::id())?);
    tokio::select! {
        () = sleep_until((began + length).into()) => {}
        never = churn.run(&compiler.events) => match never? {},
    }
    let (took, after) = (began.elapsed(), processor_time(std::process::id())?);
    churn.settle(&compiler.events).await?;
    Ok(after.saturating_sub(before).as_secs_f64() / took.as_secs_f64())
}

/// The time on cores that one translation from nothing takes, and what is compared with it.
async fn translated_from_nothing(compiler: &Compiler) -> anyhow::Result<Duration> {
    sleep(REST).await;
    let (count, before) = (compiler.metrics.self_checks.get(), processor_time(std::process::id())?);
    // It is due at once, and then not any more: after it the check rests for many times as long.
    let check = SelfCheck::new(compiler.engine.clone(), Arc::clone(&compiler.metrics), Duration::ZERO);
    let looking = tokio::spawn(check.run());
    while compiler.metrics.self_checks.get() == count {
        sleep(Duration::from_millis(10)).await;
    }
    looking.abort();
    sleep(Duration::from_millis(100)).await;
    Ok(processor_time(std::process::id())?.saturating_sub(before))
}

fn mean(turns: &[f64]) -> f64 {
    turns.iter().sum::<f64>() / turns.len() as f64
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
