//! A Service of a cluster: its endpoints that are ready, looked up with the user's own rights. Compilers do not watch Services.

use std::collections::BTreeMap;

use flock_proto::v1;
use flock_shared::{NamespaceName, ObjectName, causes};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::ListParams;
use kube::{Api, Client};

use super::port::{NumberOrName, TypedPort};
use crate::failure::{Failure, Kind};

/// The label by which slices name their Service.
const OF_SERVICE: &str = "kubernetes.io/service-name";

/// What tells endpoints apart: namespace and name of the pod, or the address of one that has none.
type EndpointKey = (Option<(String, String)>, String);

/// A Service as an end, and the port that is asked about.
pub(super) type Resolved = (v1::ServiceEnd, Option<v1::Port>);

/// Looks a Service up.
///
/// # Errors
/// If it is not there, has no such port or no endpoint that is ready, or may not be read.
pub(super) async fn resolve(
    client: &Client,
    namespace: &NamespaceName,
    name: &ObjectName,
    port: Option<&TypedPort>,
) -> Result<Resolved, Failure> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace.as_str());
    let service = services.get_opt(name.as_str()).await;
    let service = service.map_err(|error| refused(error, namespace, name, "services", "", "get"))?;
    let service = service.ok_or_else(|| {
        Failure::question(format!("no Service {namespace}/{name}: the API server knows none"))
    })?;
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace.as_str());
    let slices = slices.list(&ListParams::default().labels(&format!("{OF_SERVICE}={name}"))).await;
    let slices = slices
        .map_err(|error| refused(error, namespace, name, "endpointslices", "discovery.k8s.io", "list"))?;
    endpoints(namespace, name, &service, &slices.items, port).map_err(Failure::question)
}

fn refused(
    error: kube::Error,
    namespace: &NamespaceName,
    name: &ObjectName,
    resource: &str,
    group: &str,
    verb: &str,
) -> Failure {
    let what = format!("cannot look up Service {namespace}/{name}");
    match error {
        kube::Error::Api(status) if status.code == 403 => Failure::question(format!(
            "{what}: {}; what a role has to grant in namespace {namespace}: \
             {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verb}]}}",
            status.message
        )),
        kube::Error::Api(status) => Failure::question(format!("{what}: {}", status.message)),
        error => Failure { kind: Kind::Unreachable, error: anyhow::anyhow!("{what}: {}", causes(&error)) },
    }
}

/// The endpoints of a Service for a port, each once.
fn endpoints(
    namespace: &NamespaceName,
    name: &ObjectName,
    service: &Service,
    slices: &[EndpointSlice],
    asked: Option<&TypedPort>,
) -> Result<Resolved, String> {
    let spec = service.spec.clone().unwrap_or_default();
    if let Some(external) = spec.external_name.filter(|_| spec.type_.as_deref() == Some("ExternalName")) {
        return Err(format!(
            "Service {namespace}/{name} is a name for {external:?}, outside of the cluster: ask about its address"
        ));
    }
    let ports = spec.ports.unwrap_or_default();
    let port = asked.map(|asked| find(namespace, name, &ports, asked)).transpose()?;
    // Clients of a headless Service connect to its pods, at the port that they know.
    let dialled = match asked.map(|asked| &asked.number) {
        Some(NumberOrName::Number(number)) if spec.cluster_ip.as_deref() == Some("None") => {
            Some(u32::from(*number))
        }
        _ => None,
    };
    // An endpoint of both families stands in two slices.
    let mut found: BTreeMap<EndpointKey, (bool, v1::ServiceEndpoint)> = BTreeMap::new();
    // A host's name is no address that policies could judge.
    for slice in slices.iter().filter(|slice| slice.address_type != "FQDN") {
        let target = match port {
            None => Some(0),
            Some(port) => target(slice, port).map(|target| dialled.unwrap_or(target)),
        };
        // A slice of other ports has endpoints that lack this one.
        let Some(target_port) = target else { continue };
        for endpoint in &slice.endpoints {
            let pod = pod(endpoint);
            // The addresses of an endpoint stand for each other, says the API, and clients may take the first.
            let address = endpoint.addresses.first().cloned().unwrap_or_default();
            let key = (pod.clone(), if pod.is_some() { String::new() } else { address.clone() });
            // Readiness that is not known is to be taken for ready, says the API.
            let is_ready = endpoint.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true);
            let pod = pod.map(|(namespace, name)| v1::PodName { namespace, name });
            let entry = found.entry(key);
            let entry = entry.or_insert((false, v1::ServiceEndpoint { pod, address, target_port }));
            // One address that is ready is enough to be led to.
            entry.0 |= is_ready;
        }
    }
    let total = u32::try_from(found.len()).unwrap_or(u32::MAX);
    let endpoints: Vec<_> =
        found.into_values().filter_map(|(is_ready, endpoint)| is_ready.then_some(endpoint)).collect();
    if endpoints.is_empty() {
        return Err(format!(
            "Service {namespace}/{name} has no endpoint that is ready (0 of {total}): nothing can be judged"
        ));
    }
    let end = v1::ServiceEnd { namespace: namespace.to_string(), name: name.to_string(), endpoints, total };
    let port = port.map(|port| v1::Port { protocol: protocol(port).to_owned(), number: number(port.port) });
    Ok((end, port))
}

/// The port of a Service that is meant.
fn find<'a>(
    namespace: &NamespaceName,
    name: &ObjectName,
    ports: &'a [ServicePort],
    asked: &TypedPort,
) -> Result<&'a ServicePort, String> {
    let is_meant = |port: &&ServicePort| match &asked.number {
        NumberOrName::Number(number) => {
            port.port == i32::from(*number) && protocol(port) == asked.protocol.unwrap_or("TCP")
        }
        NumberOrName::Name(name) => {
            port.name.as_ref() == Some(name) && asked.protocol.is_none_or(|it| it == protocol(port))
        }
    };
    ports.iter().find(is_meant).ok_or_else(|| {
        let known = ports.iter().map(|port| {
            let named = port.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            format!("{}/{}{named}", port.port, protocol(port))
        });
        let known: Vec<String> = known.collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("Service {namespace}/{name} has no such port; it has {known}")
    })
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// Where a Service's port leads at the endpoints of a slice; `None`: they lack it.
fn target(slice: &EndpointSlice, port: &ServicePort) -> Option<u32> {
    // A port without a name has none in a Service and an empty one in a slice.
    let name = |name: Option<&String>| name.cloned().unwrap_or_default();
    let mut ports = slice.ports.iter().flatten();
    let found = ports.find(|it| name(it.name.as_ref()) == name(port.name.as_ref()))?;
    found.port.map(number)
}

fn number(port: i32) -> u32 {
    u32::try_from(port).unwrap_or_default()
}

fn pod(endpoint: &Endpoint) -> Option<(String, String)> {
    let target = endpoint.target_ref.as_ref()?;
    (target.kind.as_deref() == Some("Pod")).then_some(())?;
    Some((target.namespace.clone()?, target.name.clone()?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(ports: &Value) -> Service {
        serde_json::from_value(json!({ "metadata": { "name": "db" }, "spec": { "ports": ports } })).unwrap()
    }

    fn slice(family: &str, ports: &Value, endpoints: &Value) -> EndpointSlice {
        let slice = json!({ "addressType": family, "metadata": {}, "ports": ports, "endpoints": endpoints });
        serde_json::from_value(slice).unwrap()
    }

    fn endpoint(address: &str, pod: &str, ready: bool) -> Value {
        let target = json!({ "kind": "Pod", "namespace": "shop", "name": pod });
        json!({ "addresses": [address], "conditions": { "ready": ready }, "targetRef": target })
    }

    fn resolved(service: &Service, slices: &[EndpointSlice], port: &str) -> Result<Resolved, String> {
        let (namespace, name) = (NamespaceName::new("shop").unwrap(), ObjectName::new("db").unwrap());
        let port = (!port.is_empty()).then(|| TypedPort::read(port).unwrap());
        endpoints(&namespace, &name, service, slices, port.as_ref())
    }

    #[test]
    fn endpoints_that_are_ready_are_taken_once_at_the_port_that_the_service_leads_to() {
        let service = service(&json!([
            { "name": "pg", "port": 5432, "targetPort": "postgres" },
            { "name": "dns", "port": 53, "protocol": "UDP" },
        ]));
        let ports =
            json!([{ "name": "pg", "port": 15432 }, { "name": "dns", "port": 5353, "protocol": "UDP" }]);
        let both = [
            slice(
                "IPv4",
                &ports,
                &json!([endpoint("10.0.0.1", "db-0", true), endpoint("10.0.0.2", "db-1", false)]),
            ),
            slice(
                "IPv6",
                &ports,
                &json!([endpoint("fd00::1", "db-0", true), endpoint("fd00::2", "db-1", false)]),
            ),
        ];
        for (typed, number, target) in
            [("5432", 5432, 15432), ("pg", 5432, 15432), ("53/UDP", 53, 5353), ("dns", 53, 5353)]
        {
            let (end, port) = resolved(&service, &both, typed).unwrap();
            assert_eq!((end.total, end.endpoints.len(), port.unwrap().number), (2, 1, number), "{typed}");
            assert_eq!(end.endpoints[0].target_port, target, "{typed}");
            assert_eq!(end.endpoints[0].pod.as_ref().unwrap().name, "db-0");
        }
        // What clients of a headless Service know is the port of its object; by a name they are told that of its pods.
        let mut headless = service.clone();
        headless.spec.as_mut().unwrap().cluster_ip = Some("None".to_owned());
        for (typed, target) in [("5432", 5432), ("pg", 15432), ("53/UDP", 53), ("dns", 5353)] {
            assert_eq!(
                resolved(&headless, &both, typed).unwrap().0.endpoints[0].target_port,
                target,
                "{typed}"
            );
        }
        let (end, port) = resolved(&service, &both, "").unwrap();
        assert_eq!((end.endpoints[0].target_port, port), (0, None));
        let error = resolved(&service, &both, "80").unwrap_err();
        assert_eq!(error, "Service shop/db has no such port; it has 5432/TCP (pg), 53/UDP (dns)");
    }

    #[test]
    fn endpoints_without_pods_stand_by_their_addresses() {
        let service = service(&json!([{ "port": 80 }]));
        let endpoints = json!([{ "addresses": ["192.0.2.1"] }, { "addresses": ["192.0.2.2"] }]);
        let (end, _) =
            resolved(&service, &[slice("IPv4", &json!([{ "port": 8080 }]), &endpoints)], "80").unwrap();
        let told: Vec<_> = end.endpoints.iter().map(|it| (it.address.as_str(), it.target_port)).collect();
        assert_eq!(told, [("192.0.2.1", 8080), ("192.0.2.2", 8080)]);
    }

    #[test]
    fn a_service_that_leads_nowhere_is_said() {
        let one = service(&json!([{ "port": 80 }]));
        let none_ready =
            slice("IPv4", &json!([{ "port": 80 }]), &json!([endpoint("10.0.0.1", "db-0", false)]));
        assert!(resolved(&one, &[none_ready], "80").unwrap_err().contains("(0 of 1)"));
        let external =
            json!({ "metadata": {}, "spec": { "type": "ExternalName", "externalName": "db.example" } });
        let external: Service = serde_json::from_value(external).unwrap();
        assert!(resolved(&external, &[], "80").unwrap_err().contains("db.example"));
    }
}
