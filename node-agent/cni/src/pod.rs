//! Whose sandbox it is: the pod, as a kubelet's runtime says in `CNI_ARGS`, and the sandbox's id.

use flock_shared::PodKey;
use flock_shared::cni::{SandboxError, SandboxId};

/// The interface of a pod that its cluster knows it by.
const FIRST_INTERFACE: &str = "eth0";

/// The pod of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub key: PodKey,
    /// Its UID, where the runtime tells it.
    pub uid: Option<String>,
}

/// Reads the pod from `CNI_ARGS`: pairs, separated by semicolons, of which the last of a name counts. There is none
/// where the runtime works for no kubelet.
///
/// # Errors
/// When it names one that cannot be.
pub fn read(args: &str) -> Result<Option<Pod>, String> {
    let value = |name: &str| {
        let mut pairs = args.split(';').rev().filter_map(|pair| pair.split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value).filter(|value| !value.is_empty())
    };
    let (namespace, name) = match (value("K8S_POD_NAMESPACE"), value("K8S_POD_NAME")) {
        (None, None) => return Ok(None),
        (Some(namespace), Some(name)) => (namespace, name),
        (Some(_), None) => return Err("CNI_ARGS names a namespace and no pod".to_owned()),
        (None, Some(_)) => return Err("CNI_ARGS names a pod and no namespace".to_owned()),
    };
    let key = PodKey::new(namespace, name).map_err(|error| format!("CNI_ARGS: the pod's name {error}"))?;
    Ok(Some(Pod { key, uid: value("K8S_POD_UID").map(str::to_owned) }))
}

/// The id of what a container has on an interface. A container may be on several networks, by as many interfaces, and
/// leaves them one by one; the first goes by the container's id alone.
///
/// # Errors
/// When the container's id is longer than any runtime makes them.
pub fn sandbox(container: &str, interface: &str) -> Result<SandboxId, SandboxError> {
    if interface.is_empty() || interface == FIRST_INTERFACE {
        return SandboxId::new(container);
    }
    let mut id = format!("{container}.");
    for byte in interface.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            id.push(char::from(byte));
        } else {
            // `_` and `.` too, so that no two interfaces of a container come to the same id.
            id.push_str(&format!("_{byte:02x}"));
        }
    }
    SandboxId::new(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelets_runtime_names_the_pod() {
        let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;\
                    K8S_POD_INFRA_CONTAINER_ID=3fa9;K8S_POD_UID=0b1c-2";
        let pod = Pod { key: PodKey::new("shop", "web-0").unwrap(), uid: Some("0b1c-2".to_owned()) };
        assert_eq!(read(args), Ok(Some(pod.clone())));
        let without = Pod { uid: None, ..pod };
        assert_eq!(read("K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=shop"), Ok(Some(without.clone())));
        assert_eq!(read("K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=shop;K8S_POD_UID="), Ok(Some(without.clone())));
        assert_eq!(read("K8S_POD_NAME=x;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0"), Ok(Some(without)));
    }

    #[test]
    fn other_runtimes_name_none() {
        for args in ["", ";", "IgnoreUnknown=1", "FOO=BAR;ABC=123", "K8S_POD_NAMESPACE", "K8S_POD_NAME="] {
            assert_eq!(read(args), Ok(None), "{args}");
        }
    }

    #[test]
    fn half_a_name_and_no_name_are_told() {
        for args in [
            "K8S_POD_NAMESPACE=shop",
            "K8S_POD_NAME=web-0",
            "K8S_POD_NAMESPACE=Shop;K8S_POD_NAME=web-0",
            "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=a b",
            "K8S_POD_NAMESPACE=a/b;K8S_POD_NAME=c",
        ] {
            assert!(read(args).is_err(), "{args}");
        }
    }

    #[test]
    fn each_interface_of_a_container_has_its_own_sandbox() {
        let id = |container: &str, interface: &str| sandbox(container, interface).unwrap().to_string();
        assert_eq!(id("3fa9", "eth0"), "3fa9");
        assert_eq!(id("3fa9", ""), "3fa9");
        assert_eq!(id("3fa9", "net1"), "3fa9.net1");
        assert_eq!(id("3fa9", "a.b_c@d"), "3fa9.a_2eb_5fc_40d");
        assert!(sandbox(&"a".repeat(129), "eth0").is_err());
    }
}
