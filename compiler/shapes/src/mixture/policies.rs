//! The policies of S3's tenants: seven kinds that take turns among ten namespaces.

use flock_compiler_core::object::{Peer, Policy, Rule};
use flock_compiler_core::{Operator, Requirement, Selector};
use flock_shared::ObjectName;

use super::Tenant;
use super::words::Words;
use crate::parts::{
    block, is_in, is_not_in, labelled, named, pods_in, pods_of, policy, requirement, rule, tcp, tcp_range,
    udp,
};

/// The policy of a tenant.
pub(super) fn of(words: &Words, tenant: &Tenant, name: &ObjectName) -> Policy {
    let team = || labelled([&tenant.team]);
    let project = || labelled([&tenant.project]);
    let own = || pods_of(&tenant.name, Selector::everything());
    let make = |pod_selector: Selector, ingress: Option<Vec<Rule>>, egress: Option<Vec<Rule>>| {
        policy(&tenant.name, name, pod_selector, ingress, egress)
    };
    match tenant.number % 10 {
        // The gateways may reach the web pods.
        0..=2 => {
            make(labelled([&words.web]), Some(vec![rule([gateways(words)], [named(&words.http)])]), None)
        }
        // The team's web pods may reach the api, by a port name that does not mean one number everywhere.
        3 | 4 => make(
            labelled([&words.api]),
            Some(vec![rule([pods_in(team(), labelled([&words.web]))], [named(&words.grpc)])]),
            None,
        ),
        // The project's api and worker pods may reach the database, which reaches nothing but names.
        5 => {
            let clients = [is_in(&words.app, [&words.api.1, &words.worker.1])].into_iter().collect();
            make(
                labelled([&words.db]),
                Some(vec![rule([pods_in(project(), clients)], [tcp(5432), tcp(6432)])]),
                Some(vec![lookup(words)]),
            )
        }
        // Everybody of the namespace, and its monitoring.
        6 => make(
            Selector::everything(),
            Some(vec![rule([own()], []), rule([prometheus(words)], [named(&words.metrics)])]),
            None,
        ),
        // Workers use the team's caches and the internet.
        7 => make(
            labelled([&words.worker]),
            None,
            Some(vec![
                rule([pods_in(team(), labelled([&words.cache]))], [tcp(6379), tcp_range(30_000, 30_100)]),
                rule([internet()], [tcp(443)]),
                lookup(words),
            ]),
        ),
        // All but the databases talk within their project, in production; both directions.
        8 => {
            let pod_selector: [Requirement; 2] =
                [is_not_in(&words.app, [&words.db.1]), requirement(&words.version, Operator::Exists)];
            let within = || {
                let namespaces =
                    [is_in(&tenant.project.0, [&tenant.project.1]), is_not_in(&words.stage, [&words.test.1])];
                rule([pods_in(namespaces.into_iter().collect(), Selector::everything())], [])
            };
            make(
                pod_selector.into_iter().collect(),
                Some(vec![within()]),
                Some(vec![within(), lookup(words)]),
            )
        }
        // An office network without its guests may reach a range of ports; the gateways one of them.
        _ => {
            let office = u8::try_from(tenant.number / 10 % 256).unwrap_or(0);
            let network = block(([192, 168, office, 0], 24), &[([192, 168, office, 64], 28)]);
            let pod_selector = [
                requirement(&words.app, Operator::Exists),
                requirement(&words.purpose, Operator::DoesNotExist),
            ];
            make(
                pod_selector.into_iter().collect(),
                Some(vec![rule([network], [tcp_range(8000, 8999)]), rule([gateways(words)], [tcp(8080)])]),
                None,
            )
        }
    }
}

/// Port 53 of the DNS servers.
fn lookup(words: &Words) -> Rule {
    rule([system(words, "dns", "dns")], [udp(53), tcp(53)])
}

fn gateways(words: &Words) -> Peer {
    system(words, "ingress", "gateway")
}

fn prometheus(words: &Words) -> Peer {
    system(words, "monitoring", "prometheus")
}

fn system(words: &Words, purpose: &str, app: &str) -> Peer {
    pods_in(
        labelled([&(words.purpose.clone(), purpose.into())]),
        labelled([&(words.app.clone(), app.into())]),
    )
}

/// Everything but private networks and the link.
fn internet() -> Peer {
    let private = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([169, 254, 0, 0], 16)];
    block(([0, 0, 0, 0], 0), &private)
}
