//! The modules that guests load, in an order in which each finds what it needs.

use std::collections::{BTreeMap, BTreeSet};

/// What guests load by name: the kernel would ask for modules in the first root, where there is nothing but these.
/// What a kernel has built in, or does not know, is left out. The last rows are there to be tried (`--shell`).
pub(crate) const WANTED: &[&str] = &[
    // The host's files. The checksum is needed by a module that only says so softly.
    "virtio_pci crc32c_generic 9pnet_virtio 9p overlay",
    // What our tables say.
    "nf_tables nf_conntrack nft_ct nft_limit nft_log nft_counter nft_fib_inet nft_reject_inet nft_objref nft_quota",
    "nft_numgen nft_hash nft_connlimit nft_meta_bridge nft_reject_bridge nf_conntrack_bridge nf_conntrack_netlink",
    "nf_log_syslog nf_log_ipv4 nf_log_ipv6 nfnetlink_log nfnetlink_queue nft_queue",
    // Address translation, as clusters have it.
    "nft_chain_nat nft_nat nft_masq nft_redir nft_tproxy nft_socket nft_synproxy nft_compat ip_tables xt_MASQUERADE",
    // Links and protocols.
    "veth bridge br_netfilter 8021q sctp sctp_diag udp_diag tcp_diag dummy tun vrf macvlan ipvlan",
    // Tunnels.
    "vxlan geneve ipip sit ip_gre ip6_gre ip6_tunnel",
    // What takes packets past the forward hook.
    "nf_flow_table_inet nft_flow_offload ip_vs ip_vs_rr ip_vs_sh",
];

/// A kernel's modules by name, wherever they lie.
pub(crate) trait Source {
    /// A module's code, or nothing where the kernel has no such module.
    fn read(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>>;
}

/// The wanted modules and what they depend on, each after what it depends on.
pub(crate) fn in_order(source: &impl Source) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut order = Order { source, seen: BTreeSet::new(), loaded: Vec::new() };
    for name in WANTED.iter().flat_map(|row| row.split(' ')) {
        order.add(name)?;
    }
    Ok(order.loaded)
}

struct Order<'a, S> {
    source: &'a S,
    seen: BTreeSet<String>,
    loaded: Vec<(String, Vec<u8>)>,
}

impl<S: Source> Order<'_, S> {
    fn add(&mut self, name: &str) -> anyhow::Result<()> {
        // Files and dependencies do not agree on the two.
        let name = name.replace('-', "_");
        // Taken down before it is loaded, so that modules which need each other end.
        if !self.seen.insert(name.clone()) {
            return Ok(());
        }
        if let Some(code) = self.source.read(&name)? {
            for dependency in depends(&code) {
                self.add(&dependency)?;
            }
            self.loaded.push((name, code));
        }
        Ok(())
    }
}

/// What a module says that it depends on: `depends=a,b`, as a string among its others.
fn depends(code: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = code.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = code.iter().skip(at + KEY.len()).take_while(|byte| **byte != 0).copied().collect();
    let text = String::from_utf8(value).unwrap_or_default();
    text.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}

/// Modules that lie in memory.
impl Source for BTreeMap<String, Vec<u8>> {
    fn read(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.get(name).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(depends: &str) -> Vec<u8> {
        format!("\x7fELF\0license=GPL\0depends={depends}\0name=x\0").into_bytes()
    }

    #[test]
    fn each_comes_after_what_it_depends_on() {
        let source: BTreeMap<String, Vec<u8>> = [
            ("nft_ct", "nf_tables,nf-conntrack"),
            ("nf_conntrack", "libcrc32c"),
            ("libcrc32c", ""),
            ("nf_tables", "nfnetlink,libcrc32c"),
            ("nfnetlink", ""),
            ("unasked", ""),
        ]
        .map(|(name, depends)| (name.to_owned(), module(depends)))
        .into();
        let found: Vec<String> = in_order(&source).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, ["nfnetlink", "libcrc32c", "nf_tables", "nf_conntrack", "nft_ct"]);
    }

    #[test]
    fn a_module_may_depend_on_nothing() {
        assert_eq!(depends(&module("")), [""; 0]);
        assert_eq!(depends(b"no module"), [""; 0]);
        assert_eq!(depends(&module("a,b")), ["a", "b"]);
    }
}
