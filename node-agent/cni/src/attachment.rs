//! What the plugins before this one gave the pod: addresses, and the host's end of its link.

use std::net::IpAddr;

use serde::Deserialize;

use crate::links::Link;

/// How the host's end of a pair of interfaces is called by plugins that do not care.
const PAIR: &str = "veth";

/// What a result says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The pod's addresses, in the result's order.
    pub addresses: Vec<IpAddr>,
    /// The host's end of its link, where it can be told.
    pub interface: Option<String>,
}

/// The part of a result that counts. Go writes what is missing as null.
#[derive(Deserialize)]
struct WireResult {
    interfaces: Option<Vec<Interface>>,
    ips: Option<Vec<Ip>>,
}

#[derive(Deserialize)]
struct Interface {
    #[serde(default)]
    name: String,
    sandbox: Option<String>,
}

impl Interface {
    fn is_of_host(&self) -> bool {
        self.sandbox.as_deref().unwrap_or_default().is_empty()
    }
}

#[derive(Deserialize)]
struct Ip {
    address: String,
    interface: Option<i64>,
}

/// Reads a result; `look` says what a link of the node is.
///
/// # Errors
/// When it is no result.
pub fn read(result: &str, look: impl Fn(&str) -> Link) -> Result<Given, String> {
    let wire: WireResult = serde_json::from_str(result).map_err(|error| format!("prevResult: {error}"))?;
    let interfaces = wire.interfaces.unwrap_or_default();
    let mut addresses = Vec::new();
    for ip in wire.ips.unwrap_or_default() {
        // Some plugins tell addresses that the host has for the pod's sake.
        let owner = ip.interface.and_then(|index| interfaces.get(usize::try_from(index).ok()?));
        if owner.is_some_and(Interface::is_of_host) {
            continue;
        }
        let address = address(&ip.address)?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let names: Vec<&str> =
        interfaces.iter().filter(|interface| interface.is_of_host()).map(|it| it.name.as_str()).collect();
    Ok(Given { addresses, interface: host_end(&names, look).map(str::to_owned) })
}

/// An address, written with the length of its network.
fn address(text: &str) -> Result<IpAddr, String> {
    let (address, _) = text.split_once('/').unwrap_or((text, ""));
    address.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        format!("prevResult: {shown:?} is no address")
    })
}

/// Which of the host's interfaces of a result is the other end of the pod's: never a bridge or a device, which others
/// use too. Where more than one is left, the name has to tell.
fn host_end<'a>(names: &[&'a str], look: impl Fn(&str) -> Link) -> Option<&'a str> {
    let mut ends = Vec::new();
    for name in names {
        match look(name) {
            Link::Bridge | Link::Device => {}
            link @ (Link::Virtual | Link::Unknown) => ends.push((*name, link)),
        }
    }
    // What the kernel knows is worth more than what it does not, as for a link that is another namespace's.
    if ends.iter().any(|(_, link)| *link == Link::Virtual) {
        ends.retain(|(_, link)| *link == Link::Virtual);
    }
    if ends.len() > 1 {
        ends.retain(|(name, _)| name.starts_with(PAIR));
    }
    match ends[..] {
        [(name, _)] if !name.is_empty() => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(result: &str) -> Given {
        read(result, |_| Link::Unknown).unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    const BRIDGE: &str = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"cni0","mac":"00:11:22:33:44:55"},
        {"name":"veth3243","mac":"55:44:33:22:11:11"},{"name":"eth0","mac":"99:88:77:66:55:44","sandbox":"/var/run/netns/blue"}],
        "ips":[{"interface":2,"address":"10.1.0.5/16","gateway":"10.1.0.1"},{"interface":2,"address":"fd00:1::5/64"}],
        "routes":[{"dst":"0.0.0.0/0"}],"dns":{}}"#;

    #[test]
    fn a_bridges_pod_hangs_on_a_port() {
        let expected = Given {
            addresses: addresses(&["10.1.0.5", "fd00:1::5"]),
            interface: Some("veth3243".to_owned()),
        };
        assert_eq!(given(BRIDGE), expected);
        let by_kernel = |name: &str| if name == "cni0" { Link::Bridge } else { Link::Virtual };
        assert_eq!(read(BRIDGE, by_kernel), Ok(expected));
        // The port is called something else.
        let renamed = BRIDGE.replace("veth3243", "port7");
        assert_eq!(given(&renamed).interface, None);
        assert_eq!(read(&renamed, by_kernel).unwrap().interface.as_deref(), Some("port7"));
    }

    #[test]
    fn results_of_the_field() {
        // ptp and kindnet: the host's end, the pod's.
        let ptp = r#"{"interfaces":[{"name":"veth12","mac":"x"},{"name":"eth0","sandbox":"/run/netns/a"}],
            "ips":[{"version":"4","interface":1,"address":"10.1.0.5/32"}]}"#;
        assert_eq!(
            given(ptp),
            Given { addresses: addresses(&["10.1.0.5"]), interface: Some("veth12".to_owned()) }
        );
        // Calico: the host's end only, addresses of no interface.
        let calico = r#"{"cniVersion":"0.3.1","interfaces":[{"name":"cali12ab"}],
            "ips":[{"version":"4","address":"10.65.0.2/32"},{"version":"6","address":"fd00::2/128"}],"dns":{}}"#;
        let expected = addresses(&["10.65.0.2", "fd00::2"]);
        assert_eq!(given(calico), Given { addresses: expected, interface: Some("cali12ab".to_owned()) });
        // ipvlan, macvlan, host-device, SR-IOV: nothing on the host.
        let ipvlan = r#"{"interfaces":[{"name":"eth0","sandbox":"/run/netns/a"}],"ips":[{"interface":0,"address":"10.1.0.5/24"}]}"#;
        assert_eq!(given(ipvlan), Given { addresses: addresses(&["10.1.0.5"]), interface: None });
        // No interfaces at all, null for what is missing.
        let plain = r#"{"interfaces":null,"ips":[{"interface":null,"address":"10.1.0.5/24"}],"routes":null}"#;
        assert_eq!(given(plain), Given { addresses: addresses(&["10.1.0.5"]), interface: None });
        assert_eq!(given("{}"), Given { addresses: vec![], interface: None });
    }

    #[test]
    fn what_others_use_is_no_end() {
        let one = |name: &str, link: Link| {
            let text = format!(r#"{{"interfaces":[{{"name":"{name}"}}]}}"#);
            read(&text, |_| link).unwrap().interface
        };
        assert_eq!(one("br-lan", Link::Bridge), None);
        assert_eq!(one("ens3", Link::Device), None);
        assert_eq!(one("", Link::Unknown), None);
        assert_eq!(one("lxc1", Link::Virtual).as_deref(), Some("lxc1"));
        let two = r#"{"interfaces":[{"name":"a"},{"name":"b","sandbox":""}]}"#;
        assert_eq!(read(two, |_| Link::Virtual).unwrap().interface, None);
        let of_kernel = |name: &str| if name == "b" { Link::Virtual } else { Link::Unknown };
        assert_eq!(read(two, of_kernel).unwrap().interface.as_deref(), Some("b"));
    }

    #[test]
    fn addresses_of_the_host_are_not_the_pods() {
        let text = r#"{"interfaces":[{"name":"veth1"},{"name":"eth0","sandbox":"/a"}],
            "ips":[{"interface":0,"address":"10.1.0.1/24"},{"interface":1,"address":"10.1.0.5/24"},
                   {"interface":7,"address":"10.1.0.6/24"},{"interface":-1,"address":"10.1.0.5/24"}]}"#;
        assert_eq!(given(text).addresses, addresses(&["10.1.0.5", "10.1.0.6"]));
    }

    #[test]
    fn no_result_is_told() {
        for text in ["1", "[]", r#"{"ips":[{"address":"x/24"}]}"#, r#"{"ips":[{}]}"#, r#"{"interfaces":{}}"#]
        {
            assert!(read(text, |_| Link::Unknown).unwrap_err().starts_with("prevResult: "), "{text}");
        }
    }
}
