//! Questions to manifests: this program reads them and answers itself. No cluster is touched.

use std::path::PathBuf;
use std::sync::Arc;

use flock_ask::{AskError, Cluster, Proposed, ServiceAddresses, Sight};
use flock_compiler_core::object::{Lifecycle, Pod, Service, ServicePort, TargetPort};
use flock_compiler_core::{Problem, UnreadyPods, World, translate};
use flock_convert::manifests::{Manifests, ReadOptions};
use flock_convert::{HostInterfaces, Workloads};
use flock_proto::v1;
use flock_shared::{NamespaceName, ObjectKey, ObjectName, PolicyKey};

use super::files;
use super::port::{NumberOrName, TypedPort};
use super::service::Resolved;
use crate::Program;
use crate::failure::Failure;
use crate::nodes::say;
use crate::table::one_line;

/// Whoever has the manifests may see all of them.
const SIGHT: Sight = Sight::Everything;

/// What manifests say.
pub(super) struct Local {
    world: World,
    /// What translation reports of them, with their files.
    problems: Vec<Problem>,
    origins: std::collections::BTreeMap<String, Arc<str>>,
    services: std::collections::BTreeMap<ObjectKey, Service>,
    addresses: ServiceAddresses,
}

impl Local {
    /// Reads manifests. What is wrong with them is said.
    ///
    /// # Errors
    /// If a file cannot be read, or nothing in them can be used.
    pub(super) fn load(program: Program, paths: &[PathBuf]) -> Result<Self, Failure> {
        let manifests = read(&files::read(paths)?, Workloads::StandForPods);
        let errors: Vec<String> = manifests.errors.iter().map(|error| one_line(&error.to_string())).collect();
        let objects = &manifests.objects;
        // What is wrong in some files is said, and the others answer; nothing at all would be an answer of no meaning.
        if objects.pods.is_empty() && objects.policies.is_empty() && objects.namespaces.is_empty() {
            let why = if errors.is_empty() {
                "no pod, workload, policy or namespace".to_owned()
            } else {
                errors.join("; ")
            };
            return Err(Failure::question(format!("nothing in the manifests can be used: {why}")));
        }
        say(program, &errors);
        let mut world = World::default();
        for change in manifests.listings() {
            world.apply(change);
        }
        let mut problems: Vec<Problem> = manifests.errors.iter().flat_map(|error| error.problems()).collect();
        problems.extend(translate(&world).problems().to_vec());
        // What several objects come to together names one of them and no file.
        for problem in problems.iter_mut().filter(|problem| problem.origin.is_none()) {
            problem.origin = manifests.origins.get(&problem.object).cloned();
        }
        let Manifests { origins, services, service_cidrs, .. } = manifests;
        let addresses = ServiceAddresses::new(&services, service_cidrs);
        Ok(Self { world, problems, origins, services, addresses })
    }

    fn cluster(&self) -> Cluster<'_> {
        let (problems, origins, services) = (&*self.problems, Some(&self.origins), Some(&self.addresses));
        let cluster = Cluster::new(&self.world, UnreadyPods::default());
        Cluster { services, problems, origins, assumed: true, ..cluster }
    }

    pub(super) fn explain(&self, request: &v1::ExplainRequest) -> Result<v1::ExplainResponse, Failure> {
        Ok(flock_ask::explain(&self.cluster(), request, &SIGHT)?)
    }

    pub(super) fn preview(&self, request: &v1::PreviewRequest) -> Result<Vec<v1::PreviewRow>, Failure> {
        Ok(flock_ask::preview(&self.cluster(), &proposed(request)?, &SIGHT)?)
    }

    pub(super) fn reach(&self, request: &v1::ReachRequest) -> Result<Vec<v1::ReachRow>, Failure> {
        Ok(flock_ask::reach(&self.cluster(), request, &SIGHT)?)
    }

    pub(super) fn lint(&self, request: &v1::LintRequest) -> Result<Vec<v1::Finding>, Failure> {
        Ok(flock_ask::lint(&self.cluster(), request, &SIGHT)?)
    }

    pub(super) fn matrix(&self, request: &v1::MatrixRequest) -> Result<Vec<v1::MatrixRow>, Failure> {
        Ok(flock_ask::matrix(&self.cluster(), request, &SIGHT)?)
    }

    pub(super) fn list_open(&self, request: &v1::ListOpenRequest) -> Result<Vec<v1::OpenRow>, Failure> {
        Ok(flock_ask::open(&self.cluster(), request, &SIGHT)?)
    }

    /// A Service of the manifests: the pods that it selects, at the ports that it leads to there.
    ///
    /// # Errors
    /// If it is not there, or has no such port or no pod.
    pub(super) fn service(
        &self,
        namespace: &NamespaceName,
        name: &ObjectName,
        asked: Option<&TypedPort>,
    ) -> Result<Resolved, Failure> {
        let key = ObjectKey { namespace: namespace.clone(), name: name.clone() };
        let service = self.services.get(&key);
        let service =
            service.ok_or_else(|| Failure::question(format!("no Service {key} in the manifests")))?;
        let Some(selector) = &service.selector else {
            return Err(Failure::question(format!(
                "Service {key} selects no pods, and its endpoints are not in the manifests: ask about their addresses"
            )));
        };
        let port = asked.map(|asked| Ok::<_, Failure>((find(&key, service, asked)?, asked))).transpose()?;
        let pods = self.world.pods().values();
        // Manifests do not tell which pods are ready, so each that may run is an endpoint.
        let is_endpoint = |pod: &&Arc<Pod>| {
            pod.key.namespace == *namespace
                && selector.matches(&pod.labels)
                && pod.lifecycle != Lifecycle::Finished
        };
        let pods = pods.filter(is_endpoint);
        let (mut endpoints, mut total) = (Vec::new(), 0u32);
        for pod in pods {
            total += 1;
            let target = match port {
                None => Some(0),
                // Clients connect to the pods themselves, at the port that they know.
                Some((_, TypedPort { number: NumberOrName::Number(number), .. })) if service.is_headless => {
                    Some(*number)
                }
                Some((ServicePort { target: TargetPort::Number(number), .. }, _)) => Some(*number),
                Some((ServicePort { target: TargetPort::Named(name), protocol, .. }, _)) => {
                    pod.numbers(*protocol, name).next()
                }
            };
            // It is counted and not judged: the answer says how many of how many were.
            let Some(target) = target else { continue };
            let pod = v1::PodName { namespace: namespace.to_string(), name: pod.key.name.to_string() };
            endpoints.push(v1::ServiceEndpoint {
                pod: Some(pod),
                address: String::new(),
                target_port: target.into(),
            });
        }
        if endpoints.is_empty() {
            return Err(Failure::question(format!(
                "Service {key} leads to no pod (0 of {total} that it selects have the port): nothing can be judged"
            )));
        }
        let port = port.map(|(it, _)| v1::Port { protocol: it.protocol.to_string(), number: it.port.into() });
        Ok((
            v1::ServiceEnd { namespace: namespace.to_string(), name: name.to_string(), endpoints, total },
            port,
        ))
    }
}

fn find<'a>(key: &ObjectKey, service: &'a Service, asked: &TypedPort) -> Result<&'a ServicePort, Failure> {
    let is_meant = |port: &&ServicePort| match &asked.number {
        NumberOrName::Number(number) => {
            port.port == *number && port.protocol.as_str() == asked.protocol.unwrap_or("TCP")
        }
        NumberOrName::Name(name) => {
            port.name.as_ref().is_some_and(|own| own.as_str() == name)
                && asked.protocol.is_none_or(|it| it == port.protocol.as_str())
        }
    };
    service.ports.iter().find(is_meant).ok_or_else(|| {
        let known: Vec<String> = service.known_ports().collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Failure::question(format!("Service {key} has no such port; it has {known}"))
    })
}

fn read(manifests: &[v1::Manifest], workloads: Workloads) -> Manifests {
    let options = ReadOptions { interfaces: HostInterfaces::None, workloads };
    Manifests::from_bytes(manifests.iter().map(|it| (it.origin.as_str(), &it.content[..])), &options)
}

/// What would be applied.
fn proposed(request: &v1::PreviewRequest) -> Result<Proposed, Failure> {
    let manifests = read(&request.manifests, Workloads::Ignored);
    // Other than in `load`, nothing is left out: it would be a preview of another change.
    if !manifests.errors.is_empty() {
        let errors: Vec<String> = manifests.errors.iter().map(|error| one_line(&error.to_string())).collect();
        return Err(Failure::question(errors.join("; ")));
    }
    // A namespace that only occurs in other objects is not applied.
    let is_given = |name: &NamespaceName| manifests.origins.contains_key(&format!("Namespace {name}"));
    let namespaces = manifests.objects.namespaces.iter().filter(|(name, _)| is_given(name));
    let proposed = Proposed {
        policies: manifests.objects.policies.values().cloned().collect(),
        namespaces: namespaces.map(|(_, namespace)| namespace.clone()).collect(),
        deleted: request.delete.iter().map(policy_key).collect::<Result<_, _>>()?,
        origins: manifests.origins.clone(),
    };
    if proposed.policies.is_empty() && proposed.namespaces.is_empty() && proposed.deleted.is_empty() {
        return Err(Failure::question(
            "no NetworkPolicy and no Namespace in what would be applied".to_owned(),
        ));
    }
    Ok(proposed)
}

fn policy_key(name: &v1::PolicyName) -> Result<PolicyKey, Failure> {
    let wrong = |error| Failure::question(format!("networkpolicy/{}/{}: {error}", name.namespace, name.name));
    Ok(PolicyKey {
        namespace: NamespaceName::new(&name.namespace).map_err(|error| wrong(error.to_string()))?,
        name: ObjectName::new(&name.name).map_err(|error| wrong(error.to_string()))?,
    })
}

/// Manifests do not answer another way when they are asked again.
impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::question(error.to_string())
    }
}
