//! What the table needs of nft and the kernel, feature by feature, so that the one that is missing can be named.
//!
//! nft checks each in the kernel (`nft -c`), in a table of a trial that is never committed. `trial.nft` holds every
//! statement that scripts may hold; a test below keeps this list in step with it.

use flock_shared::tables::{BRIDGE_TRIAL_TABLE, TRIAL_TABLE};

use crate::child::ChildError;
use crate::nft::Nft;

/// Where a feature is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// In the table that judges routed packets, on every node.
    Routed,
    /// In the table beside it, where pods hang on a bridge.
    Bridged,
}

/// A feature of nft and the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Feature {
    /// Its name: part of the name of the finding.
    pub(super) name: &'static str,
    /// Where it is needed.
    pub(super) room: Room,
    /// What has it in the kernel: an option of its configuration, and the module's name.
    pub(super) provider: &'static str,
    /// What is not enforced without it.
    pub(super) means: &'static str,
    /// The objects of a table that need it, and nothing else that is not needed by one before.
    objects: &'static str,
}

/// What became of trying a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tried {
    /// It is there.
    Taken,
    /// It is not, in nft's words.
    Refused(String),
    /// It was not tried, since the family of its table is missing.
    Omitted,
}

const NOTHING: &str = "no NetworkPolicy is enforced on this node: nft refuses the whole table";
/// The one feature that tables do without where it is missing.
pub(super) const DROPS: &str = "drops";

const BRIDGES: &str = "frames between pods of one bridge are not judged: nft refuses the table for bridges";

/// All features, the family of a table before what is in it.
pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "inet-family",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES_INET (nf_tables)",
        means: NOTHING,
        objects: "",
    },
    Feature {
        name: "forward-hook",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES_INET (nf_tables)",
        means: NOTHING,
        objects: "\tchain c {\n\t\ttype filter hook forward priority filter - 10; policy accept;\n\t}\n",
    },
    Feature {
        name: "prerouting-hook",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES_INET (nf_tables)",
        means: "forged source addresses are not dropped: nft refuses the whole table where interfaces of pods are known",
        objects: "\tchain c {\n\t\ttype filter hook prerouting priority raw; policy accept;\n\t}\n",
    },
    Feature {
        name: "hash-sets",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES (nf_tables, nft_set_hash)",
        means: NOTHING,
        objects: "\tset s {\n\t\ttypeof ip saddr\n\t\telements = { 10.0.0.1 }\n\t}\n\tset t {\n\t\ttypeof ip6 saddr\n\t\telements = { fd00::1 }\n\t}\n\
                  \tchain c {\n\t\tip saddr @s accept\n\t\tip6 daddr @t accept\n\t}\n",
    },
    Feature {
        name: "concatenated-sets",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES (nf_tables, nft_set_hash)",
        means: NOTHING,
        objects: "\tset s {\n\t\ttypeof ip daddr . meta l4proto . th dport\n\t\telements = { 10.0.0.1 . tcp . 80 }\n\t}\n\
                  \tchain c {\n\t\tip daddr . meta l4proto . th dport @s accept\n\t}\n",
    },
    Feature {
        name: "interval-sets",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES (nf_tables, nft_set_rbtree)",
        means: NOTHING,
        objects: "\tset s {\n\t\ttypeof ip saddr\n\t\tflags interval\n\t\telements = { 10.0.0.0/23, 10.9.0.1-10.9.0.7 }\n\t}\n\
                  \tchain c {\n\t\tip saddr @s accept\n\t}\n",
    },
    Feature {
        name: "concatenated-intervals",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES of Linux 5.6 or newer (nf_tables, nft_set_pipapo)",
        means: NOTHING,
        objects: "\tset s {\n\t\ttypeof ip daddr . th dport\n\t\tflags interval\n\t\telements = { 10.0.0.1 . 80-90 }\n\t}\n\
                  \tchain c {\n\t\tmeta l4proto tcp ip saddr . th dport @s accept\n\t}\n",
    },
    Feature {
        name: "verdict-maps",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES (nf_tables)",
        means: NOTHING,
        objects: "\tchain d {\n\t}\n\tmap m {\n\t\ttypeof ip saddr : verdict\n\t\telements = { 10.0.0.1 : goto d }\n\t}\n\
                  \tmap p {\n\t\ttypeof th dport : verdict\n\t\tflags interval\n\t\telements = { 80-90 : goto d }\n\t}\n\
                  \tchain c {\n\t\tip saddr vmap @m\n\t\tmeta l4proto tcp th dport vmap @p\n\t}\n",
    },
    Feature {
        name: "set-timeouts",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES (nf_tables, nft_set_hash)",
        means: "nft refuses the whole table where --unready-pods is expected, which is the default",
        objects: "\tset s {\n\t\ttypeof meta nfproto\n\t\tflags timeout\n\t}\n\
                  \tchain c {\n\t\tmeta nfproto != @s counter drop\n\t}\n",
    },
    Feature {
        name: DROPS,
        room: Room::Routed,
        provider: "CONFIG_NFT_LIMIT, CONFIG_NFT_LOG, CONFIG_NETFILTER_NETLINK_LOG (nft_limit, nft_log, nfnetlink_log)",
        means: "all is enforced, but flows that policies deny are not taken down: flockctl drops shows none of this node",
        objects: "\tset s {\n\t\ttypeof ip saddr . ip daddr . meta l4proto . th dport\n\t\tsize 4096\n\t\tflags dynamic,timeout\n\t\ttimeout 1m\n\t}\n\
                  \tset t {\n\t\ttypeof ip saddr\n\t\tsize 4096\n\t\tflags dynamic,timeout\n\t\ttimeout 1m\n\t}\n\
                  \tchain c {\n\t\tupdate @t { ip saddr limit rate over 256/minute burst 256 packets } counter drop\n\
                  \t\tlimit rate 100/second burst 100 packets log group 47117 snaplen 128\n\
                  \t\tupdate @s { ip saddr . ip daddr . meta l4proto . th dport counter }\n\t}\n",
    },
    Feature {
        name: "connection-tracking",
        room: Room::Routed,
        provider: "CONFIG_NFT_CT (nft_ct, nf_conntrack)",
        means: NOTHING,
        objects: "\tchain c {\n\t\tct direction reply accept\n\t\tct state new accept\n\t\tct state related accept\n\t\tct status dnat accept\n\t}\n",
    },
    Feature {
        name: "fib-address-type",
        room: Room::Routed,
        provider: "CONFIG_NFT_FIB_INET (nft_fib_inet)",
        means: "nft refuses the whole table where unready pods are guarded (--unready-pods expected, which is the default, or drop)",
        objects: "\tchain c {\n\t\tfib daddr type local accept\n\t}\n",
    },
    Feature {
        name: "fib-reverse-path",
        room: Room::Routed,
        provider: "CONFIG_NFT_FIB_INET (nft_fib_inet)",
        means: "nft refuses the whole table where interfaces come from annotations (--host-iface annotation:KEY)",
        objects: "\tchain c {\n\t\tfib saddr . iif oif missing counter drop\n\t}\n",
    },
    Feature {
        name: "reject",
        room: Room::Routed,
        provider: "CONFIG_NFT_REJECT_INET (nft_reject_inet)",
        means: NOTHING,
        objects: "\tchain c {\n\t\tmeta l4proto tcp counter reject with tcp reset\n\t}\n",
    },
    Feature {
        name: "icmp-types",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES (nf_tables)",
        means: NOTHING,
        objects: "\tchain c {\n\t\ticmp type { destination-unreachable, time-exceeded } accept\n\
                  \t\tip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n\t}\n",
    },
    Feature {
        name: "packet-bytes",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES (nf_tables)",
        means: NOTHING,
        objects: "\tchain c {\n\t\tmeta l4proto sctp @th,96,8 != 1 counter drop\n\t\ttcp flags & (fin | syn | rst | ack) != syn counter drop\n\t}\n",
    },
    Feature {
        name: "interface-names",
        room: Room::Routed,
        provider: "CONFIG_NF_TABLES (nf_tables)",
        means: "forged source addresses are not dropped: nft refuses the whole table where interfaces of pods are known",
        objects: "\tset s {\n\t\ttypeof iifname . ip saddr\n\t\telements = { \"eth0\" . 10.0.0.1 }\n\t}\n\
                  \tchain c {\n\t\tiifname . ip saddr @s accept\n\t}\n",
    },
    Feature {
        name: "bridge-family",
        room: Room::Bridged,
        provider: "CONFIG_NF_TABLES_BRIDGE (nf_tables)",
        means: BRIDGES,
        objects: "",
    },
    Feature {
        name: "bridge-hooks",
        room: Room::Bridged,
        provider: "CONFIG_NF_TABLES_BRIDGE (nf_tables)",
        means: BRIDGES,
        objects: "\tchain c {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n\
                  \tchain d {\n\t\ttype filter hook prerouting priority dstnat; policy accept;\n\t}\n\
                  \tchain e {\n\t\ttype filter hook postrouting priority filter; policy accept;\n\t}\n",
    },
    Feature {
        name: "bridge-sets",
        room: Room::Bridged,
        provider: "CONFIG_NF_TABLES_BRIDGE (nf_tables, nft_set_hash)",
        means: BRIDGES,
        objects: "\tset s {\n\t\ttypeof iifname . @th,64,128\n\t\telements = { \"veth0\" . 0xfd000010024400010000000000000002 }\n\t}\n\
                  \tset o {\n\t\ttypeof iifname . ip saddr\n\t\telements = { \"veth0\" . 10.0.0.1 }\n\t}\n\
                  \tchain c {\n\t\tiifname . @th,64,128 @s accept\n\t\toifname . ip daddr @o accept\n\t}\n",
    },
    Feature {
        name: "bridge-frames",
        room: Room::Bridged,
        provider: "CONFIG_NF_TABLES_BRIDGE (nf_tables)",
        means: BRIDGES,
        objects: "\tchain c {\n\t\tether type { 8021q, 8021ad } counter drop\n\t\tether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 counter drop\n\
                  \t\tarp saddr ip 0.0.0.0 accept\n\t\tfrag nexthdr { 0, 43 } counter drop\n\t}\n",
    },
];

impl Feature {
    /// Returns true if it is the family that all others of its table need.
    #[must_use]
    pub(super) const fn is_family(&self) -> bool {
        self.objects.is_empty()
    }

    fn script(&self) -> String {
        let table = match self.room {
            Room::Routed => TRIAL_TABLE,
            Room::Bridged => BRIDGE_TRIAL_TABLE,
        };
        format!("table {table} {{\n{}}}\n", self.objects)
    }
}

/// Tries each feature; nothing is committed.
///
/// # Errors
/// When nft gives no answer.
pub(super) async fn tried(nft: &Nft) -> Result<Vec<(&'static Feature, Tried)>, ChildError> {
    let mut all = Vec::new();
    let mut missing = None;
    for feature in FEATURES {
        let tried = if missing == Some(feature.room) {
            Tried::Omitted
        } else {
            match nft.tried(&feature.script()).await? {
                Ok(()) => Tried::Taken,
                Err(complaint) => {
                    Tried::Refused(complaint.as_str().lines().next().unwrap_or_default().to_owned())
                }
            }
        };
        if feature.is_family() && tried != Tried::Taken {
            missing = Some(feature.room);
        }
        all.push((feature, tried));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What nft turns into expressions of their own, or sets of another kind.
    const EXPRESSIONS: [&str; 28] = [
        "@th,",
        "arp ",
        "counter",
        "ct direction",
        "ct state",
        "ct status",
        "dup ",
        "ether ",
        "fib daddr",
        "fib saddr",
        "flags interval",
        "flags timeout",
        "flags dynamic",
        "frag ",
        "hash",
        "icmp ",
        "icmpv6 ",
        "ip6 hoplimit",
        "limit rate",
        "log",
        "meta l4proto",
        "meta nfproto",
        "numgen",
        "queue",
        "reject",
        "socket",
        "tcp flags",
        "vmap",
    ];

    #[test]
    fn each_expression_that_scripts_hold_is_tried() {
        let words = |text: &str| -> BTreeSet<&str> {
            EXPRESSIONS.into_iter().filter(|word| text.contains(word)).collect()
        };
        for (room, trial) in [
            (Room::Routed, include_str!("../trial.nft")),
            (Room::Bridged, include_str!("../trial_bridge.nft")),
        ] {
            let tried: String =
                FEATURES.iter().filter(|feature| feature.room == room).map(|it| it.objects).collect();
            let statements: String =
                trial.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
            // The types of ICMP are the same expression in both rooms.
            let missing: Vec<_> = words(&statements)
                .difference(&words(&tried))
                .filter(|word| {
                    !(room == Room::Bridged && word.starts_with("icmp") || **word == "ip6 hoplimit")
                })
                .copied()
                .collect();
            assert_eq!(missing, [""; 0], "{room:?}: scripts hold what no feature stands for");
        }
    }

    #[test]
    fn families_come_first_and_no_hook_drops() {
        for room in [Room::Routed, Room::Bridged] {
            let mut of_room = FEATURES.iter().filter(|feature| feature.room == room);
            assert!(of_room.next().unwrap().is_family());
            assert!(of_room.all(|feature| !feature.is_family()));
        }
        assert!(FEATURES.iter().all(|feature| !feature.objects.contains("policy drop")));
        let names: BTreeSet<_> = FEATURES.iter().map(|feature| feature.name).collect();
        assert_eq!(names.len(), FEATURES.len());
    }
}
