//! Makes one check: sets the policies, tries all flows until they are as they should be, and once more whether they stay so.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::cast::{CLIENT_WEB, FLOWS, Flow, Protocol, Who};
use crate::checks::{Addresses, Check, Kind, ingress, only_from};
use crate::cluster::{Attempt, Cluster, Reach, attempts};
use crate::report::Outcome;

/// How long a probe's verdict is looked at: some periods long.
const PROBED: Duration = Duration::from_secs(4);
const PROBED_SIMULATED: Duration = Duration::from_secs(1);

/// Something to try, and whether it should come through.
struct Expected {
    attempt: Attempt,
    passes: bool,
}

/// Makes a check and takes its policies away.
pub(crate) async fn perform(
    check: &Check,
    cluster: &Cluster,
    addresses: &Addresses,
    within: Duration,
) -> Result<Outcome> {
    let outcome = match &check.kind {
        Kind::Matrix(policies, pass) => {
            cluster.set_policies(&policies(addresses)).await?;
            matrix(cluster, addresses, pass, within).await?
        }
        Kind::Relabel => relabel(cluster, addresses, within).await?,
        Kind::Service => service(cluster, addresses, within).await?,
        Kind::Probes => probes(cluster, addresses, within).await?,
        Kind::FirstPacket => first_packet(cluster, addresses, within).await?,
    };
    cluster.set_policies(&[]).await?;
    Ok(outcome)
}

/// Tries all flows of the cast, of which these pass.
async fn matrix(
    cluster: &Cluster,
    addresses: &Addresses,
    pass: &[Flow],
    within: Duration,
) -> Result<Outcome> {
    let of = |flow: &Flow| {
        let passes = pass.contains(flow);
        attempts(*flow, addresses).into_iter().map(move |attempt| Expected { attempt, passes })
    };
    settle(cluster, FLOWS.iter().flat_map(of).collect(), within).await
}

/// Tries until all is as expected, and then once more.
async fn settle(cluster: &Cluster, expected: Vec<Expected>, within: Duration) -> Result<Outcome> {
    let (tried, expected): (Vec<_>, Vec<_>) = expected.into_iter().map(|it| (it.attempt, it.passes)).unzip();
    let start = Instant::now();
    let (mut settled, mut began) = (None, Duration::ZERO);
    loop {
        let reached = cluster.try_all(&tried).await?;
        let faults: Vec<String> = tried
            .iter()
            .zip(&expected)
            .zip(&reached)
            .filter(|((_, passes), reach)| **reach != if **passes { Reach::Reached } else { Reach::Dropped })
            .map(|((attempt, passes), reach)| fault(attempt, *passes, reach))
            .collect();
        match (faults.is_empty(), settled) {
            // Looked at once more, for it has to stay so.
            (true, None) => settled = Some(began),
            (true, Some(settled)) => return Ok(Outcome::Passed { settled }),
            (false, Some(_)) => {
                let again = "it was as it should be, and did not stay so".to_owned();
                return Ok(Outcome::Failed([vec![again], faults].concat()));
            }
            (false, None) if start.elapsed() > within => return Ok(Outcome::Failed(faults)),
            (false, None) => {
                sleep(Duration::from_millis(50)).await;
                began = start.elapsed();
            }
        }
    }
}

fn fault(Attempt { from, protocol, to }: &Attempt, passes: bool, reach: &Reach) -> String {
    let should = if passes { "should pass" } else { "should be dropped" };
    let (namespace, name) = (from.namespace(), from.name());
    format!("{namespace}/{name} to {to} {} {should}: {reach:?}", protocol.as_str())
}

async fn relabel(cluster: &Cluster, addresses: &Addresses, within: Duration) -> Result<Outcome> {
    cluster.set_policies(&[only_from("guest")]).await?;
    let is_closed = matrix(cluster, addresses, &[], within).await?;
    if matches!(is_closed, Outcome::Failed(_)) {
        return Ok(is_closed);
    }
    cluster.relabel(Who::Client, "guest").await?;
    let from_client = FLOWS.iter().filter(|flow| flow.from == Who::Client).copied().collect::<Vec<_>>();
    let opened = matrix(cluster, addresses, &from_client, within).await;
    // Whatever was found: later checks want the pod to have its own label.
    cluster.relabel(Who::Client, Who::Client.name()).await?;
    let opened = opened?;
    if matches!(opened, Outcome::Failed(_)) {
        return Ok(opened);
    }
    matrix(cluster, addresses, &[], within).await
}

async fn service(cluster: &Cluster, addresses: &Addresses, within: Duration) -> Result<Outcome> {
    let to = SocketAddr::new(cluster.service().await?, 80);
    let has_family = |who: Who| {
        let own = addresses.get(&who).into_iter().flatten();
        own.into_iter().any(|own| own.is_ipv4() == to.is_ipv4())
    };
    if ![Who::Client, Who::Other, Who::Api].into_iter().any(has_family) {
        cluster.delete_service().await?;
        return Ok(Outcome::Skipped(format!("no pod has an address of the family of {}", to.ip())));
    }
    let expected = |passing: &[Who]| -> Vec<Expected> {
        let askers = [Who::Client, Who::Other, Who::Api].into_iter().filter(|who| has_family(*who));
        let attempt = |from| Attempt { from, protocol: Protocol::Tcp, to };
        askers.map(|from| Expected { attempt: attempt(from), passes: passing.contains(&from) }).collect()
    };
    let mut outcome = settle(cluster, expected(&[Who::Client, Who::Other, Who::Api]), within).await?;
    if matches!(outcome, Outcome::Passed { .. }) {
        cluster.set_policies(&[only_from(Who::Client.name())]).await?;
        outcome = settle(cluster, expected(&[Who::Client]), within).await?;
    }
    cluster.delete_service().await?;
    Ok(outcome)
}

async fn probes(cluster: &Cluster, addresses: &Addresses, within: Duration) -> Result<Outcome> {
    let (_, restarts) = cluster.readiness(Who::Web).await?;
    cluster.set_policies(&[ingress(&json!({}), None)]).await?;
    let outcome = matrix(cluster, addresses, &[], within).await?;
    let start = Instant::now();
    let probed = if cluster.is_simulated() { PROBED_SIMULATED } else { PROBED };
    while start.elapsed() < probed {
        let seen = cluster.readiness(Who::Web).await?;
        if seen != (true, restarts) {
            let words = format!("pod x/web is ready, and how often it was started anew: {seen:?}");
            return Ok(Outcome::Failed(vec![words]));
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(outcome)
}

/// One that may connect does, one that may not does not, from the first moment on and on both nodes.
async fn first_packet(cluster: &Cluster, addresses: &Addresses, within: Duration) -> Result<Outcome> {
    cluster.set_policies(&[only_from(Who::Client.name())]).await?;
    let outcome = matrix(
        cluster,
        addresses,
        &FLOWS.iter().filter(|flow| flow.from == Who::Client).copied().collect::<Vec<_>>(),
        within,
    )
    .await?;
    let targets = attempts(CLIENT_WEB, addresses).into_iter().map(|attempt| attempt.to);
    let first = targets.flat_map(|to| {
        let each = [(Who::Client.name(), 0), (Who::Client.name(), 1), ("stranger", 0), ("stranger", 1)];
        each.map(|(role, place)| async move {
            let family = if to.is_ipv4() { "v4" } else { "v6" };
            let name = format!("first-{role}-{place}-{family}");
            let pod = cluster.run.first_act(&name, role, &to.to_string(), place);
            let ended = cluster.ends_well(&name, &pod, within * 4).await;
            (name, to, role == Who::Client.name(), ended)
        })
    });
    let mut faults = Vec::new();
    for (name, to, should, ended) in join_all(first).await {
        if ended? != should {
            let word = if should { "did not connect" } else { "connected, and may not" };
            faults.push(format!("pod {name}, whose first act is to connect to {to}, {word}"));
        }
    }
    Ok(if faults.is_empty() { outcome } else { Outcome::Failed(faults) })
}
