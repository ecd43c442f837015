//! Which namespaces a question is about: those that have to be looked up before it is known what its asker may see.

use std::collections::BTreeSet;

use flock_ask::AskError;
use flock_proto::v1;
use flock_proto::v1::end::End as Asked;
use flock_shared::NamespaceName;

/// More namespaces than these are not looked up for one question: each may cost a question to the API server.
const MOST: usize = 8;

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    /// All namespaces.
    All,
    /// These, which it names, and those of the pods that are at addresses that it names.
    Namespaces(BTreeSet<NamespaceName>, Vec<std::net::IpAddr>),
}

impl About {
    /// A question about one namespace, or about all if the name is empty.
    pub(super) fn namespace(name: &str) -> Result<Self, AskError> {
        match name.is_empty() {
            true => Ok(Self::All),
            false => Ok(Self::Namespaces([parse(name)?].into(), Vec::new())),
        }
    }

    /// A question about ends.
    pub(super) fn ends<'a>(ends: impl IntoIterator<Item = Option<&'a v1::End>>) -> Result<Self, AskError> {
        let (mut namespaces, mut addresses) = (BTreeSet::new(), Vec::new());
        for end in ends.into_iter().filter_map(|end| end?.end.as_ref()) {
            let name = match end {
                Asked::Pod(pod) => &pod.namespace,
                Asked::Workload(workload) => &workload.namespace,
                Asked::Service(service) => &service.namespace,
                Asked::Selection(selection) if selection.namespace.is_empty() => return Ok(Self::All),
                Asked::Selection(selection) => &selection.namespace,
                Asked::Address(address) => {
                    // What is no address is said by whoever resolves it.
                    addresses.extend(address.parse::<std::net::IpAddr>());
                    continue;
                }
                Asked::Internet(_) | Asked::Node(_) => continue,
            };
            namespaces.insert(parse(name)?);
        }
        Ok(Self::Namespaces(namespaces, addresses))
    }

    /// A question about namespaces, each by its name.
    pub(super) fn several<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, AskError> {
        let namespaces: BTreeSet<NamespaceName> = names.into_iter().map(parse).collect::<Result<_, _>>()?;
        match namespaces.len() {
            0 => Err(AskError::Bad("nothing is asked about: expected at least one object".to_owned())),
            1..=MOST => Ok(Self::Namespaces(namespaces, Vec::new())),
            // One review for everything instead of one for each.
            _ => Ok(Self::All),
        }
    }
}

fn parse(name: &str) -> Result<NamespaceName, AskError> {
    NamespaceName::new(name).map_err(|error| AskError::Bad(format!("namespace: {error}")))
}
