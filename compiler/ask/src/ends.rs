//! From an end as it is asked about to the places that it stands for.

use std::net::IpAddr;
use std::sync::Arc;

use flock_compiler_core::judge::{Judge, Place};
use flock_compiler_core::object::Pod;
use flock_proto::v1;
use flock_proto::v1::end::End as Asked;
use flock_shared::{NamespaceName, NodeName, ObjectName, PodKey};

use crate::{AskError, Cluster, Sight, internet, selector, shown, workload};

/// An end, and everything that it stands for.
#[derive(Debug, Clone)]
pub struct Ends {
    /// In order of names, then of addresses. At least one.
    pub at: Vec<At>,
    /// For a Service: of how many endpoints these are all that is ready.
    pub endpoints_total: Option<u32>,
}

/// One place that an end stands for.
#[derive(Debug, Clone)]
pub struct At {
    /// Where.
    pub place: Place,
    /// The pod that was asked about; `None`: an address, a node, the internet.
    pub pod: Option<Arc<Pod>>,
    /// The port that a Service leads to there, in place of the one that was asked about.
    pub target_port: Option<u16>,
    /// How it is shown.
    pub shown: v1::ShownEnd,
}

/// Finds what an end stands for.
///
/// # Errors
/// If it cannot be understood, or there is none.
pub fn ends(
    cluster: &Cluster<'_>,
    judge: &Judge<'_>,
    end: Option<&v1::End>,
    sight: &Sight,
) -> Result<Ends, AskError> {
    let Some(asked) = end.and_then(|end| end.end.as_ref()) else {
        return Err(AskError::Bad(
            "an end is missing: expected a pod, a workload, an address, internet or a node".into(),
        ));
    };
    let finder = EndFinder { cluster, judge, sight };
    let (mut at, mut endpoints_total) = (Vec::new(), None);
    match asked {
        Asked::Pod(name) => at.extend(finder.of_pod(&finder.pod(name)?)),
        Asked::Workload(name) => {
            for pod in &few(finder.workload(name)?)? {
                at.extend(finder.of_pod(pod).into_iter().map(|at| finder.of_workload(name, at)));
            }
        }
        Asked::Address(address) => {
            let address: IpAddr = address.parse().map_err(|_| {
                AskError::Bad(format!("{address:?} is no address: expected one like 10.0.0.1 or fd00::1"))
            })?;
            // An IPv4 address in IPv6 notation is the IPv4 one, which is what pods and blocks have.
            at.push(finder.place(judge.place_of(address.to_canonical()), None));
        }
        Asked::Internet(_) => at.extend(finder.internet()),
        Asked::Node(name) => at.extend(finder.node(name)?),
        Asked::Selection(selection) => {
            for pod in few(finder.selected(selection)?)? {
                at.extend(finder.of_pod(pod));
            }
        }
        Asked::Service(service) => {
            at.extend(finder.service(service)?);
            endpoints_total = Some(service.total);
        }
    }
    Ok(Ends { at, endpoints_total })
}

/// An end stands for so many pods at most: each is shown with what is known of it.
const PODS: usize = 5000;

fn few<T>(pods: Vec<T>) -> Result<Vec<T>, AskError> {
    match pods.len() {
        0..=PODS => Ok(pods),
        count => Err(AskError::TooLarge(format!(
            "an end of {count} pods: ask about at most {PODS} at once, such as those of one namespace (`-n`)"
        ))),
    }
}

struct EndFinder<'a> {
    cluster: &'a Cluster<'a>,
    judge: &'a Judge<'a>,
    sight: &'a Sight,
}

impl EndFinder<'_> {
    fn place(&self, place: Place, pod: Option<&Arc<Pod>>) -> At {
        let shown = shown(&place, pod, self.sight);
        At { place, pod: pod.cloned(), target_port: None, shown }
    }

    fn of_pod(&self, pod: &Arc<Pod>) -> Vec<At> {
        self.judge.places_of_pod(pod).into_iter().map(|place| self.place(place, Some(pod))).collect()
    }

    /// Checks that there is a namespace.
    fn namespace(&self, name: &str) -> Result<NamespaceName, AskError> {
        let namespace =
            NamespaceName::new(name).map_err(|error| AskError::Bad(format!("namespace: {error}")))?;
        match self.cluster.has_namespace(&namespace) {
            true => Ok(namespace),
            false => Err(AskError::NotFound(format!("no namespace {name:?}"))),
        }
    }

    fn pod(&self, asked: &v1::PodName) -> Result<Arc<Pod>, AskError> {
        let namespace = self.namespace(&asked.namespace)?;
        let name = ObjectName::new(&asked.name).map_err(|error| AskError::Bad(format!("pod: {error}")))?;
        let key = PodKey { namespace, name };
        let found = self.cluster.world.pods().get(&key).cloned();
        found.ok_or_else(|| AskError::NotFound(format!("no pod {key}")))
    }

    fn workload(&self, asked: &v1::WorkloadName) -> Result<Vec<Arc<Pod>>, AskError> {
        let v1::WorkloadName { namespace, kind, name } = asked;
        let namespace = self.namespace(namespace)?;
        let wanted = format!("{kind}/{name}");
        let is_of = |pod: &&Arc<Pod>| workload(pod).is_some_and(|workload| workload == wanted);
        let pods = self.cluster.world.pods_of(&namespace);
        let all: Vec<Arc<Pod>> = pods.filter(is_of).cloned().collect();
        match all.is_empty() {
            true => Err(AskError::NotFound(format!("no pods of {namespace}/{wanted}"))),
            false => Ok(all),
        }
    }

    /// A pod of a workload that was asked about by name: of pods that the asker may not see that name is all.
    fn of_workload(&self, asked: &v1::WorkloadName, at: At) -> At {
        if at.pod.as_ref().is_none_or(|pod| self.sight.sees(&pod.key.namespace)) {
            return at;
        }
        let v1::WorkloadName { namespace, kind, name } = asked;
        let shown = v1::ShownEnd { name: format!("{namespace}/{kind}/{name}"), pod: None, ..at.shown };
        At { shown, ..at }
    }

    fn selected(&self, asked: &v1::PodSelection) -> Result<Vec<&Arc<Pod>>, AskError> {
        let namespace =
            (!asked.namespace.is_empty()).then(|| self.namespace(&asked.namespace)).transpose()?;
        let selector = selector::parse(&asked.selector)?;
        let is_asked = |pod: &&Arc<Pod>| {
            namespace.as_ref().is_none_or(|namespace| pod.key.namespace == *namespace)
                // Left out and not refused: a refusal would tell that there is such a pod.
                && self.sight.sees(&pod.key.namespace)
                && selector.matches(&pod.labels)
        };
        let found: Vec<_> = self.cluster.world.pods().values().filter(is_asked).collect();
        match found.is_empty() {
            true => Err(AskError::NotFound(format!("no pods with {}", asked.selector))),
            false => Ok(found),
        }
    }

    fn node(&self, name: &str) -> Result<Vec<At>, AskError> {
        let name = NodeName::new(name).map_err(|error| AskError::Bad(format!("node: {error}")))?;
        let Some(node) = self.cluster.world.nodes().get(&name) else {
            return Err(AskError::NotFound(format!("no node {:?}", name.as_str())));
        };
        let on_host = |address| Place { address, owners: Vec::new(), host: Some(name.clone()) };
        let at: Vec<At> = node.addresses.iter().map(|at| self.place(on_host(Some(*at)), None)).collect();
        // At least one place: a node without addresses can be asked about, and no block has it.
        Ok(if at.is_empty() { vec![self.place(on_host(None), None)] } else { at })
    }

    fn internet(&self) -> Vec<At> {
        let places = internet::places(self.judge).into_iter().map(|place| self.place(place, None));
        places
            // One name for both families: places of the same name are one end.
            .map(|at| At { shown: v1::ShownEnd { name: "internet".to_owned(), ..at.shown }, ..at })
            .collect()
    }

    fn service(&self, asked: &v1::ServiceEnd) -> Result<Vec<At>, AskError> {
        let mut all = Vec::new();
        for endpoint in &asked.endpoints {
            // 0: no port was asked about, so it leads to none.
            let target_port = u16::try_from(endpoint.target_port).ok().filter(|port| *port != 0);
            // What is told of endpoints may be ahead of what is known of pods.
            let pod = endpoint.pod.as_ref().map(|name| self.pod(name));
            let address = endpoint.address.parse().ok();
            let found = match (pod, address) {
                (Some(Ok(pod)), _) => self.of_pod(&pod),
                (_, Some(address)) => {
                    vec![self.place(self.judge.place_of(IpAddr::to_canonical(&address)), None)]
                }
                (Some(Err(error)), None) => return Err(error),
                (None, None) => {
                    return Err(AskError::Bad(format!(
                        "{:?} is no address of an endpoint",
                        endpoint.address
                    )));
                }
            };
            all.extend(found.into_iter().map(|at| At { target_port, ..at }));
        }
        match all.is_empty() {
            true => Err(AskError::NotFound(format!(
                "Service {}/{} has no endpoint that is ready",
                asked.namespace, asked.name
            ))),
            false => Ok(all),
        }
    }
}
