//! What a debug client may be allowed to do, in the words of RBAC.

use std::fmt;

use flock_shared::{NamespaceName, NodeName, access};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, ResourceAttributes};

/// Something that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// To read a virtual resource, once.
    Get(Resource),
    /// To be told of its changes.
    Watch(Resource),
    /// To read a page of the admin port.
    Page(&'static str),
}

/// A virtual resource of the API group [`access::API_GROUP`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// `nodescripts`: what a node should have and has, or all nodes.
    NodeScripts(Option<NodeName>),
    /// `policyexplanations`: what is wrong with policies, in a namespace or everywhere.
    PolicyExplanations(Option<NamespaceName>),
    /// `policydrops`: flows that were dropped at the pods of a namespace, or everywhere.
    PolicyDrops(Option<NamespaceName>),
}

impl Permission {
    const fn verb(&self) -> &'static str {
        match self {
            Self::Get(_) | Self::Page(_) => "get",
            Self::Watch(_) => "watch",
        }
    }

    /// The attributes of a SubjectAccessReview: those of a resource, or those of a path.
    pub(super) fn attributes(&self) -> (Option<ResourceAttributes>, Option<NonResourceAttributes>) {
        let verb = Some(self.verb().to_owned());
        let (resource, namespace, name) = match self {
            Self::Page(path) => {
                return (None, Some(NonResourceAttributes { path: Some((*path).to_owned()), verb }));
            }
            Self::Get(Resource::NodeScripts(node)) | Self::Watch(Resource::NodeScripts(node)) => {
                (access::NODE_SCRIPTS, None, node.as_ref().map(ToString::to_string))
            }
            Self::Get(Resource::PolicyExplanations(namespace))
            | Self::Watch(Resource::PolicyExplanations(namespace)) => {
                (access::POLICY_EXPLANATIONS, namespace.as_ref().map(ToString::to_string), None)
            }
            Self::Get(Resource::PolicyDrops(namespace)) | Self::Watch(Resource::PolicyDrops(namespace)) => {
                (access::POLICY_DROPS, namespace.as_ref().map(ToString::to_string), None)
            }
        };
        let attributes = ResourceAttributes {
            group: Some(access::API_GROUP.to_owned()),
            version: Some("v1".to_owned()),
            resource: Some(resource.to_owned()),
            verb,
            namespace,
            name,
            ..ResourceAttributes::default()
        };
        (Some(attributes), None)
    }
}

/// As the API server words what it forbids.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.verb())?;
        match self {
            Self::Page(path) => write!(f, "path {path:?}"),
            Self::Get(resource) | Self::Watch(resource) => resource.fmt(f),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = access::API_GROUP;
        match self {
            Self::NodeScripts(node) => {
                write!(f, "resource \"{}\" in API group {group:?}", access::NODE_SCRIPTS)?;
                node.as_ref().map_or(Ok(()), |node| write!(f, " named {:?}", node.as_str()))
            }
            Self::PolicyExplanations(namespace) | Self::PolicyDrops(namespace) => {
                let resource = match self {
                    Self::PolicyDrops(_) => access::POLICY_DROPS,
                    _ => access::POLICY_EXPLANATIONS,
                };
                write!(f, "resource \"{resource}\" in API group {group:?} ")?;
                match namespace {
                    Some(namespace) => write!(f, "in the namespace {:?}", namespace.as_str()),
                    None => f.write_str("in all namespaces"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_worded_as_rbac_has_it() {
        let node = NodeName::new("n1").unwrap();
        let permission = Permission::Watch(Resource::NodeScripts(Some(node)));
        let (resource, path) = permission.attributes();
        let resource = resource.unwrap();
        assert_eq!(path, None);
        assert_eq!(resource.verb.as_deref(), Some("watch"));
        assert_eq!(
            (resource.resource.as_deref(), resource.name.as_deref()),
            (Some("nodescripts"), Some("n1"))
        );
        assert_eq!((resource.group.as_deref(), resource.namespace), (Some("flock.netpol"), None));
        assert_eq!(
            permission.to_string(),
            r#"watch resource "nodescripts" in API group "flock.netpol" named "n1""#
        );

        let shop = NamespaceName::new("shop").unwrap();
        let permission = Permission::Get(Resource::PolicyExplanations(Some(shop)));
        assert_eq!(permission.attributes().0.unwrap().namespace.as_deref(), Some("shop"));
        assert!(permission.to_string().ends_with(r#"in the namespace "shop""#), "{permission}");

        let (resource, path) = Permission::Page("/metrics").attributes();
        assert_eq!((resource, path.unwrap().path.as_deref()), (None, Some("/metrics")));
    }
}
