//! The system namespaces of S3: few policies, whose subjects or peers span the cluster.

use std::sync::Arc;

use flock_compiler_core::object::{NamedPort, Namespace, Policy};
use flock_compiler_core::{Labels, Selector};
use flock_shared::NamespaceName;

use super::words::Words;
use crate::parts::{
    self, Pair, labelled, named, named_port, namespace_name, object_name, pods_in, policy, rule, tcp, udp,
};

/// The system namespaces, by name and by their label `purpose`.
const NAMES: [&str; NAMESPACES] = ["telemetry", "monitoring", "ingress", "dns"];
/// How many there are.
pub(super) const NAMESPACES: usize = 4;

/// Pods of one kind.
pub(super) struct SystemPods {
    pub(super) namespace: NamespaceName,
    pub(super) app: Pair,
    pub(super) ports: Vec<NamedPort>,
}

/// The pods of the system namespaces.
pub(super) struct System {
    /// One per node.
    pub(super) exporter: SystemPods,
    /// Prometheus, gateways and DNS servers.
    pub(super) others: [SystemPods; 3],
}

impl SystemPods {
    pub(super) fn labels(&self) -> Labels {
        [self.app.clone()].into_iter().collect()
    }
}

pub(super) fn namespaces(words: &Words) -> Vec<Namespace> {
    let namespace = |name: &str| {
        let text: Arc<str> = name.into();
        let labels = [(words.metadata.clone(), text.clone()), (words.purpose.clone(), text)];
        parts::namespace(namespace_name(name), labels)
    };
    NAMES.into_iter().map(namespace).collect()
}

pub(super) fn pods(words: &Words, namespaces: &[Namespace]) -> System {
    let kind = |namespace: &str, app: &str, ports: Vec<NamedPort>| {
        let found = namespaces.iter().map(|found| &found.name).find(|found| found.as_str() == namespace);
        let namespace = found.cloned().unwrap_or_else(|| namespace_name(namespace));
        SystemPods { namespace, app: (words.app.clone(), app.into()), ports }
    };
    System {
        exporter: kind("telemetry", "exporter", vec![named_port(&words.metrics, 9100)]),
        others: [
            kind("monitoring", "prometheus", Vec::new()),
            kind("ingress", "gateway", Vec::new()),
            kind("dns", "dns", Vec::new()),
        ],
    }
}

pub(super) fn policies(words: &Words) -> Vec<Policy> {
    let [telemetry, monitoring, ingress, dns] = NAMES.map(namespace_name);
    let app = |name: &str| -> Selector { labelled([&(words.app.clone(), name.into())]) };
    let purpose = |name: &str| -> Selector { labelled([&(words.purpose.clone(), name.into())]) };
    let [from_monitoring, to_exporters, to_web, from_all, to_dns, outward] =
        ["from-monitoring", "to-exporters", "to-web", "from-all", "from-pods", "outward"].map(object_name);
    let everything = Selector::everything;
    vec![
        policy(
            &telemetry,
            &from_monitoring,
            app("exporter"),
            Some(vec![rule([pods_in(purpose("monitoring"), app("prometheus"))], [named(&words.metrics)])]),
            None,
        ),
        policy(
            &monitoring,
            &to_exporters,
            app("prometheus"),
            Some(Vec::new()),
            Some(vec![rule([pods_in(everything(), app("exporter"))], [named(&words.metrics)])]),
        ),
        policy(
            &ingress,
            &to_web,
            everything(),
            None,
            Some(vec![rule([pods_in(everything(), labelled([&words.web]))], [tcp(8080)])]),
        ),
        policy(&ingress, &from_all, everything(), Some(vec![rule([], [tcp(80), tcp(443)])]), None),
        policy(
            &dns,
            &to_dns,
            everything(),
            Some(vec![rule([pods_in(everything(), everything())], [udp(53), tcp(53)])]),
            None,
        ),
        policy(&dns, &outward, everything(), None, Some(vec![rule([], [udp(53), tcp(53)])])),
    ]
}
