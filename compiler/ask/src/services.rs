//! Addresses of Services, as far as they are known: clients connect to them, and no policy ever sees them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flock_compiler_core::object::Service;
use flock_shared::{NamespaceName, ObjectKey, ObjectName};
use ipnet::IpNet;

/// Addresses of Services. Those that are not here are known to nobody: a compiler watches no Services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceAddresses {
    /// The blocks that Services have them from.
    pub cidrs: Vec<IpNet>,
    /// Single ones, and whose they are.
    pub known: BTreeMap<IpAddr, ObjectKey>,
}

impl ServiceAddresses {
    /// Those of Services and of their blocks.
    pub fn new<'a>(
        services: impl IntoIterator<Item = (&'a ObjectKey, &'a Service)>,
        cidrs: Vec<IpNet>,
    ) -> Self {
        let known = services
            .into_iter()
            .flat_map(|(key, service)| service.addresses.iter().map(|address| (*address, key.clone())));
        Self { cidrs, known: known.collect() }
    }

    /// That of the API server, as the kubelet tells it to every pod (`KUBERNETES_SERVICE_HOST`). It is the first of the block
    /// that Services have theirs from; whoever sets another one there means the server itself, which is no Service.
    #[must_use]
    pub fn of_api_server(host: &str) -> Self {
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let last = address.map(|address| match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        });
        // A block of 16 addresses or more begins at a multiple of 16, and its first address is the one after that.
        let address = address.filter(|_| last.is_some_and(|last| last % SMALLEST == 1));
        Self { cidrs: Vec::new(), known: address.zip(kubernetes()).into_iter().collect() }
    }
}

/// So many addresses are in the smallest block that clusters have Services in.
const SMALLEST: u8 = 16;

/// The Service of the API server.
fn kubernetes() -> Option<ObjectKey> {
    let namespace = NamespaceName::new("default").ok()?;
    Some(ObjectKey { namespace, name: ObjectName::new("kubernetes").ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_has_the_first_address_of_services() {
        let known = |host: &str| {
            let known = ServiceAddresses::of_api_server(host).known;
            known.iter().map(|(address, key)| format!("{key} {address}")).collect::<Vec<_>>()
        };
        assert_eq!(known("10.96.0.1"), ["default/kubernetes 10.96.0.1"]);
        assert_eq!(known("10.0.0.17"), ["default/kubernetes 10.0.0.17"]);
        assert_eq!(known("fd00:96::1"), ["default/kubernetes fd00:96::1"]);
        for other in ["", "api.example.org", "192.0.2.7", "192.0.2.0", "10.96.0.1:443"] {
            assert_eq!(known(other), [""; 0], "{other}");
        }
    }
}
