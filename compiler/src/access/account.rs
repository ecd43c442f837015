//! The ServiceAccount that a component runs as.

use std::fmt;
use std::str::FromStr;

use flock_shared::{NamespaceName, ObjectName};

/// A ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: NamespaceName,
    /// Its name.
    pub name: ObjectName,
}

/// Why a string names no ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected NAMESPACE/NAME of a ServiceAccount, such as flock-system/flock-node-agent")]
pub struct ServiceAccountError;

impl ServiceAccount {
    /// The user that its tokens are of.
    #[must_use]
    pub fn username(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

impl FromStr for ServiceAccount {
    type Err = ServiceAccountError;

    fn from_str(text: &str) -> Result<Self, ServiceAccountError> {
        let (namespace, name) = text.split_once('/').ok_or(ServiceAccountError)?;
        let namespace = NamespaceName::new(namespace).map_err(|_| ServiceAccountError)?;
        let name = ObjectName::new(name).map_err(|_| ServiceAccountError)?;
        Ok(Self { namespace, name })
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_a_namespace_and_a_name() {
        let account: ServiceAccount = "flock-system/agent".parse().unwrap();
        assert_eq!(account.username(), "system:serviceaccount:flock-system:agent");
        assert_eq!(account.to_string(), "flock-system/agent");
        for wrong in ["", "agent", "a/", "/a", "A/b", "a/b/c", "a:b/c"] {
            assert_eq!(wrong.parse::<ServiceAccount>(), Err(ServiceAccountError), "{wrong}");
        }
    }
}
