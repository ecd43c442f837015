//! What an asker may see.

use std::collections::BTreeSet;
use std::net::IpAddr;

use flock_compiler_core::judge::Judge;
use flock_proto::v1;
use flock_proto::v1::end::End as Asked;
use flock_shared::NamespaceName;

use crate::AskError;

/// The namespaces whose policies, pods and labels an asker may see. Of all others an answer tells the name and the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// All.
    Everything,
    /// Only these.
    Only(BTreeSet<NamespaceName>),
}

impl Sight {
    /// Returns true if the asker may see what is in a namespace.
    #[must_use]
    pub fn sees(&self, namespace: &NamespaceName) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(seen) => seen.contains(namespace),
        }
    }

    /// Returns true if the asker may see everything, nodes included.
    #[must_use]
    pub const fn sees_everything(&self) -> bool {
        matches!(self, Self::Everything)
    }

    /// Checks that one of these ends is the asker's, before it is looked for: who may see neither is told nothing, not even
    /// whether they are there.
    pub(crate) fn may_ask(&self, judge: &Judge<'_>, ends: [Option<&v1::End>; 2]) -> Result<(), AskError> {
        let asked = ends.map(|end| end.and_then(|end| end.end.as_ref()));
        if !self.sees_everything() {
            if asked.iter().any(|end| matches!(end, Some(Asked::Node(_)))) {
                return Err(AskError::NotAllowed(
                    "nodes may be asked about by who may see all namespaces: name an address".to_owned(),
                ));
            }
            if !asked.iter().flatten().any(|end| self.sees_end(judge, end)) {
                return Err(AskError::NotAllowed(
                    "neither end is in a namespace of which you may see explanations".to_owned(),
                ));
            }
        }
        Ok(())
    }

    fn sees_end(&self, judge: &Judge<'_>, end: &Asked) -> bool {
        let sees =
            |namespace: &str| NamespaceName::new(namespace).is_ok_and(|namespace| self.sees(&namespace));
        match end {
            Asked::Pod(name) => sees(&name.namespace),
            Asked::Workload(name) => sees(&name.namespace),
            // Its endpoints are what the asker says they are.
            Asked::Service(service) => {
                let sees_endpoint = |endpoint: &v1::ServiceEndpoint| match &endpoint.pod {
                    Some(pod) => sees(&pod.namespace),
                    None => self.sees_address(judge, &endpoint.address),
                };
                // All of them: with one of its own an asker could name pods of others as endpoints of the same
                // Service.
                sees(&service.namespace) && service.endpoints.iter().all(sees_endpoint)
            }
            // In all namespaces only pods that may be seen are selected.
            Asked::Selection(selection) => selection.namespace.is_empty() || sees(&selection.namespace),
            Asked::Address(address) => self.sees_address(judge, address),
            // These are nobody's: were they somebody's own end, any pod could be asked about with one of them as the
            // other.
            Asked::Internet(_) | Asked::Node(_) => self.sees_everything(),
        }
    }

    /// Returns true if a pod that the asker may see has an address.
    fn sees_address(&self, judge: &Judge<'_>, address: &str) -> bool {
        address.parse::<IpAddr>().is_ok_and(|address| {
            let owners = judge.place_of(address.to_canonical()).owners;
            owners.iter().any(|pod| self.sees(&pod.key.namespace))
        })
    }
}
