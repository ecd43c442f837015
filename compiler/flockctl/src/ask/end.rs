//! Ends of flows as they are typed.

use std::net::{IpAddr, Ipv6Addr};

use flock_proto::v1;
use flock_proto::v1::end::End;
use flock_shared::{NamespaceName, NodeName, ObjectName};

use super::port::TypedPort;

/// What an end may look like.
pub(crate) const EXPECTED: &str = "expected NS/POD, NS/deploy/NAME (also sts, ds, rs, job, cronjob), NS/svc/NAME, \
                                   an address, internet, node/NAME, or -l SELECTOR -n NS";
/// What an end with a port may look like.
const WITH_PORT: &str = "expected TO:PORT or TO:PORT/PROTO, such as shop/db:5432 or [fd00::1]:53/UDP";

/// How people write kinds of workloads, and how messages do.
const KINDS: [(&str, &str); 22] = [
    ("deploy", "deploy"),
    ("deployment", "deploy"),
    ("deployments", "deploy"),
    ("sts", "sts"),
    ("statefulset", "sts"),
    ("statefulsets", "sts"),
    ("ds", "ds"),
    ("daemonset", "ds"),
    ("daemonsets", "ds"),
    ("rs", "rs"),
    ("replicaset", "rs"),
    ("replicasets", "rs"),
    ("job", "job"),
    ("jobs", "job"),
    ("cronjob", "cronjob"),
    ("cronjobs", "cronjob"),
    ("cj", "cronjob"),
    ("svc", SERVICE),
    ("service", SERVICE),
    ("services", SERVICE),
    ("po", POD),
    ("pod", POD),
];

const SERVICE: &str = "svc";
const POD: &str = "pod";

/// An end as it was typed. A Service still has to be resolved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TypedEnd {
    /// As messages have it.
    Known(End),
    Service {
        namespace: NamespaceName,
        name: ObjectName,
    },
}

impl TypedEnd {
    /// Reads an end; what has no namespace is in `namespace`.
    ///
    /// # Errors
    /// With what was found and what was expected.
    pub(crate) fn read(text: &str, namespace: Option<&NamespaceName>) -> Result<Self, String> {
        if text == "internet" {
            return Ok(Self::Known(End::Internet(true)));
        }
        // Before names: with `-n`, a pod could be called 10.0.0.1, and an address is what is meant by it.
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Known(End::Address(address.to_string())));
        }
        let wrong = |why: &str| format!("{text:?} {why}: {EXPECTED}");
        let in_namespace = |name: &str| {
            let name = NamespaceName::new(name);
            name.map_err(|error| wrong(&format!("has no namespace in front ({error})")))
        };
        let named =
            |name: &str| ObjectName::new(name).map_err(|error| wrong(&format!("has no name ({error})")));
        match (text.split('/').collect::<Vec<_>>().as_slice(), namespace) {
            (["node" | "nodes" | "no", name], _) => {
                let name = NodeName::new(name).map_err(|error| wrong(&format!("has no name ({error})")))?;
                Ok(Self::Known(End::Node(name.to_string())))
            }
            // With `-n`, a first part that is a kind is meant for one, though a namespace may be called so.
            ([kind, name], Some(namespace)) if find(kind).is_some() => {
                Ok(Self::of(namespace.clone(), find(kind).unwrap_or(POD), named(name)?))
            }
            ([name], Some(namespace)) => Ok(Self::of(namespace.clone(), POD, named(name)?)),
            ([_], None) => Err(wrong("is no end")),
            ([namespace, pod], _) => Ok(Self::of(in_namespace(namespace)?, POD, named(pod)?)),
            ([namespace, kind, name], _) => {
                let kind = find(kind).ok_or_else(|| wrong(&format!("has no known kind ({kind:?})")))?;
                Ok(Self::of(in_namespace(namespace)?, kind, named(name)?))
            }
            _ => Err(wrong("is no end")),
        }
    }

    /// The pods with some labels.
    pub(crate) fn selected(selector: &str, namespace: Option<&NamespaceName>) -> Self {
        let namespace = namespace.map(ToString::to_string).unwrap_or_default();
        Self::Known(End::Selection(v1::PodSelection { namespace, selector: selector.to_owned() }))
    }

    fn of(namespace: NamespaceName, kind: &str, name: ObjectName) -> Self {
        match kind {
            SERVICE => Self::Service { namespace, name },
            POD => {
                let (namespace, name) = (namespace.to_string(), name.to_string());
                Self::Known(End::Pod(v1::PodName { namespace, name }))
            }
            kind => {
                let (namespace, name) = (namespace.to_string(), name.to_string());
                Self::Known(End::Workload(v1::WorkloadName { namespace, kind: kind.to_owned(), name }))
            }
        }
    }
}

fn find(kind: &str) -> Option<&'static str> {
    KINDS.into_iter().find_map(|(typed, kind_of)| (typed == kind).then_some(kind_of))
}

/// Where the port begins in `TO:PORT`; `None` for the port: there is none. An empty end is what `-l` selects.
///
/// # Errors
/// If an address of IPv6 is not in brackets, or the port is none.
pub(crate) fn split(text: &str) -> Result<(&str, Option<TypedPort>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) =
            rest.split_once(']').ok_or_else(|| format!("{text:?}: `[` without `]`; {WITH_PORT}"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((address, Some(TypedPort::read(port)?))),
            None if after.is_empty() => Ok((address, None)),
            None => Err(format!("{text:?}: {WITH_PORT}")),
        };
    }
    // Without brackets each of its colons is its own, and there is no port.
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    match text.rsplit_once(':') {
        None => Ok((text, None)),
        Some((end, _)) if end.contains(':') => {
            Err(format!("{text:?}: an address of IPv6 with a port stands in brackets; {WITH_PORT}"))
        }
        Some((end, port)) => Ok((end, Some(TypedPort::read(port)?))),
    }
}

/// The end and its port.
///
/// # Errors
/// If there is no port.
pub(crate) fn split_with_port(text: &str) -> Result<(&str, TypedPort), String> {
    match split(text)? {
        (end, Some(port)) => Ok((end, port)),
        (_, None) => Err(format!("{text:?} has no port: {WITH_PORT}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::port::NumberOrName;

    fn read(text: &str) -> TypedEnd {
        TypedEnd::read(text, None).unwrap()
    }

    #[test]
    fn each_form_of_an_end_is_read() {
        let pod = |namespace: &str, name: &str| {
            TypedEnd::Known(End::Pod(v1::PodName { namespace: namespace.into(), name: name.into() }))
        };
        assert_eq!(read("shop/api-5f6b"), pod("shop", "api-5f6b"));
        assert_eq!(read("shop/pod/api"), pod("shop", "api"));
        for (typed, kind) in [
            ("deploy", "deploy"),
            ("statefulset", "sts"),
            ("ds", "ds"),
            ("rs", "rs"),
            ("job", "job"),
            ("cj", "cronjob"),
        ] {
            let workload =
                v1::WorkloadName { namespace: "shop".into(), kind: kind.into(), name: "api".into() };
            assert_eq!(
                read(&format!("shop/{typed}/api")),
                TypedEnd::Known(End::Workload(workload)),
                "{typed}"
            );
        }
        assert!(
            matches!(read("shop/svc/db"), TypedEnd::Service { namespace, name } if namespace.as_str() == "shop" && name.as_str() == "db")
        );
        assert_eq!(read("10.0.0.1"), TypedEnd::Known(End::Address("10.0.0.1".into())));
        for address in ["fd00::1", "[fd00::1]", "FD00:0::1"] {
            assert_eq!(read(address), TypedEnd::Known(End::Address("fd00::1".into())), "{address}");
        }
        assert_eq!(read("internet"), TypedEnd::Known(End::Internet(true)));
        assert_eq!(read("node/worker-1"), TypedEnd::Known(End::Node("worker-1".into())));
    }

    #[test]
    fn a_namespace_of_the_command_line_is_that_of_bare_names() {
        let shop = NamespaceName::new("shop").unwrap();
        let read = |text: &str| TypedEnd::read(text, Some(&shop)).unwrap();
        assert_eq!(read("api"), self::read("shop/api"));
        assert_eq!(read("deploy/api"), self::read("shop/deploy/api"));
        assert_eq!(read("svc/api"), self::read("shop/svc/api"));
        assert_eq!(read("bank/api"), self::read("bank/api"));
        assert_eq!(read("bank/deploy/api"), self::read("bank/deploy/api"));
    }

    #[test]
    fn what_is_no_end_is_told_what_one_is() {
        for wrong in [
            "",
            "web",
            "a/b/c/d",
            "shop/",
            "/web",
            "shop/crd/x",
            "shop/deploy/",
            "Shop/web",
            "shop/a b",
            "node/",
            "\u{1b}/x",
        ] {
            let error = TypedEnd::read(wrong, None).unwrap_err();
            assert!(error.contains("NS/POD") && !error.contains('\u{1b}'), "{wrong}: {error}");
        }
    }

    #[test]
    fn ports_are_split_from_ends() {
        let number = |number| Some(TypedPort { number: NumberOrName::Number(number), protocol: None });
        assert_eq!(split("shop/db:5432"), Ok(("shop/db", number(5432))));
        assert_eq!(split("10.0.0.1:80"), Ok(("10.0.0.1", number(80))));
        assert_eq!(split("[fd00::1]:80"), Ok(("fd00::1", number(80))));
        assert_eq!(split("[fd00::1]"), Ok(("fd00::1", None)));
        assert_eq!(split("fd00::1"), Ok(("fd00::1", None)));
        assert_eq!(split("shop/db"), Ok(("shop/db", None)));
        assert_eq!(split(":53"), Ok(("", number(53))));
        let udp = split("shop/svc/dns:dns/UDP").unwrap().1.unwrap();
        assert_eq!((udp.number, udp.protocol), (NumberOrName::Name("dns".into()), Some("UDP")));
        for (wrong, told) in [
            ("shop/db:", "port \"\""),
            ("[fd00::1", "without `]`"),
            ("[fd00::1]80", "[fd00::1]:53/UDP"),
            ("fd00::1::80", "in brackets"),
        ] {
            let error = split(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
        assert!(split_with_port("shop/db").unwrap_err().contains("has no port"));
    }
}
