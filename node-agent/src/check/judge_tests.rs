//! Each finding, of a node that is well but for one thing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use flock_proto::Bridge;

use super::super::features::{FEATURES, Feature};
use super::super::finding::State;
use super::super::traces::Netfilter;
use super::*;
use crate::install::select::{File, Kind};

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

fn network() -> Network {
    Network {
        netfilter: Some(Netfilter { tables: names(&["ip nat"]), chains: BTreeMap::new() }),
        devices: names(&["eth0", "lo"]),
        forwarding_v4: Some(true),
        forwarding_v6: Some(true),
        bridge_nf_writable: true,
        conntrack: Some((100, 262_144)),
        legacy_tables: BTreeSet::new(),
    }
}

fn file(text: &str) -> File {
    File { text: text.to_owned(), kind: Kind::Plain }
}

const BARE: &str = r#"{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"ptp"}]}"#;
const OURS: &str = r#"{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"ptp"},{"type":"flock-cni"}]}"#;

fn folder(files: &[(&str, &str)]) -> Cni {
    Cni {
        conf_dir: PathBuf::from("/etc/cni/net.d"),
        files: Some(files.iter().map(|(name, text)| ((*name).to_owned(), file(text))).collect()),
        bin_dir: PathBuf::from("/opt/cni/bin"),
        binary: Some(true),
        is_wanted: true,
    }
}

const THERE: StateFolder = StateFolder::There { uid: 0, mode: 0o700, writable: true, kept: true };

/// A node on which everything is as it should be.
fn node() -> Seen {
    Seen {
        nft: Ok("nftables v1.0.6 (Lester Gooch #5)".to_owned()),
        privileges: Privileges { uid: 0, net_admin: Some(true) },
        kernel: "6.12.117-amd64".to_owned(),
        features: Ok(FEATURES.iter().map(|feature| (feature, Tried::Taken)).collect()),
        refused: Vec::new(),
        network: Ok(network()),
        facts: Some(NodeFacts {
            bridge_nf_v4: BridgeNf::On,
            bridge_nf_v6: BridgeNf::On,
            ..NodeFacts::default()
        }),
        bridge_nf: Mode::Check,
        processes: Some(names(&["kthreadd", "kubelet"])),
        bpf: Some(BTreeSet::new()),
        cni: folder(&[("10-pods.conflist", OURS)]),
        memory: Memory { available: Some(8 << 30), limit: Some(768 << 20), nft: 512 << 20 },
        state: Some((PathBuf::from("/var/lib/flock"), THERE)),
    }
}

fn with(change: impl FnOnce(&mut Seen)) -> Vec<Finding> {
    let mut seen = node();
    change(&mut seen);
    judge(&seen)
}

fn with_network(change: impl FnOnce(&mut Network)) -> Vec<Finding> {
    with(|seen| change(seen.network.as_mut().unwrap()))
}

fn with_facts(change: impl FnOnce(&mut NodeFacts)) -> Vec<Finding> {
    with(|seen| change(seen.facts.as_mut().unwrap()))
}

/// What there is to say that is not well, each with the beginning of what was found. It says what it means and what to do.
fn wrong(findings: &[Finding]) -> Vec<(&str, State, &str)> {
    let bad = findings.iter().filter(|it| matches!(it.state, State::Warn | State::Fail));
    bad.inspect(|it| assert!(it.means.is_some() && it.remedy.is_some(), "{it:?}"))
        .map(|it| (it.name.as_str(), it.state, it.found.as_str()))
        .collect()
}

fn of<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.name == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn of_a_node_that_is_well_nothing_is_wrong() {
    let findings = judge(&node());
    assert_eq!(wrong(&findings), []);
    let skipped: Vec<_> =
        findings.iter().filter(|it| it.state == State::Skipped).map(|it| it.name.as_str()).collect();
    assert_eq!(skipped, ["table"], "an agent has not run yet");
    let findings = with_network(|it| {
        it.netfilter.as_mut().unwrap().tables.insert("inet flock_netpol".to_owned());
    });
    assert_eq!(of(&findings, "table").state, State::Ok);
}

#[test]
fn nft_must_be_there_and_new_enough() {
    for (version, state) in [
        (Ok("nftables v1.0.6 (Lester Gooch #5)"), State::Ok),
        (Ok("nftables v1.1.3 (Commodore Bullmoose #4)"), State::Ok),
        (Ok("nftables v2.0.0"), State::Ok),
        (Ok("nftables v1.0.5"), State::Fail),
        (Ok("nftables v0.9.8 (E.D.S.)"), State::Fail),
        (Ok("nftables"), State::Warn),
        (Err("nft could not be started: No such file or directory"), State::Fail),
    ] {
        let findings = with(|seen| seen.nft = version.map(str::to_owned).map_err(str::to_owned));
        assert_eq!(of(&findings, "nft").state, state, "{version:?}");
    }
}

#[test]
fn rights_and_kernel() {
    for (uid, net_admin, state) in [
        (0, Some(true), State::Ok),
        (0, Some(false), State::Fail),
        (0, None, State::Skipped),
        (65532, Some(true), State::Fail),
    ] {
        let findings = with(|seen| seen.privileges = Privileges { uid, net_admin });
        assert_eq!(of(&findings, "privileges").state, state, "{uid} {net_admin:?}");
    }
    for (release, state) in [
        ("5.10.0-30-amd64", State::Ok),
        ("6.18.5+deb14-cloud-amd64", State::Ok),
        ("5.4.0-200-generic", State::Warn),
        ("4.18.0-553.el8_10.x86_64", State::Warn),
        ("", State::Skipped),
    ] {
        let findings = with(|seen| seen.kernel = release.to_owned());
        assert_eq!(of(&findings, "kernel").state, state, "{release}");
    }
}

#[test]
fn the_feature_that_is_missing_is_named_with_what_brings_it() {
    let needed = |feature: &&Feature| feature.room == Room::Routed && feature.name != DROPS;
    for feature in FEATURES.iter().filter(needed) {
        let findings = with(|seen| {
            let tried = seen.features.as_mut().unwrap();
            let (_, tried) = tried.iter_mut().find(|(it, _)| it.name == feature.name).unwrap();
            *tried = Tried::Refused("Error: Could not process rule: No such file or directory".to_owned());
        });
        let name = format!("feature-{}", feature.name);
        let found = "missing: Error: Could not process rule: No such file or directory";
        assert_eq!(wrong(&findings), [(name.as_str(), State::Fail, found)]);
        assert!(of(&findings, &name).remedy.as_ref().unwrap().contains("CONFIG_NF"));
        assert_eq!(of(&findings, "statements").state, State::Skipped);
    }
    let findings = with(|seen| {
        let tried = seen.features.as_mut().unwrap();
        let (_, tried) = tried.iter_mut().find(|(it, _)| it.name == DROPS).unwrap();
        *tried = Tried::Refused("no".to_owned());
    });
    assert_eq!(wrong(&findings), [], "a node enforces without");
    let drops = of(&findings, "feature-drops");
    assert_eq!(drops.state, State::Skipped);
    assert!(
        drops.found.contains("missing (no)") && drops.found.contains("CONFIG_NFT_LOG"),
        "{}",
        drops.found
    );
    let findings = with(|seen| seen.features = Err("killed by signal 9".to_owned()));
    assert_eq!(of(&findings, "features").found, "not tried: killed by signal 9");
    let findings = with(|seen| seen.refused = vec!["rule reject: no".to_owned()]);
    assert_eq!(wrong(&findings), [("statements", State::Fail, "rule reject: no")]);
}

fn bridge(name: &str, kind: PortKind) -> Bridge {
    let ports = vec![BridgePort { name: "veth1".to_owned(), kind }];
    Bridge { name: name.to_owned(), addresses: BTreeSet::new(), ports }
}

#[test]
fn features_of_bridges_matter_where_pods_hang_on_one() {
    let without = |seen: &mut Seen| {
        for (feature, tried) in seen.features.as_mut().unwrap() {
            if feature.room == Room::Bridged {
                *tried = if feature.is_family() { Tried::Refused("no".to_owned()) } else { Tried::Omitted };
            }
        }
    };
    assert_eq!(wrong(&with(without)), []);
    let findings = with(|seen| {
        without(seen);
        seen.facts.as_mut().unwrap().bridges = vec![bridge("cni0", PortKind::Veth)];
    });
    assert_eq!(wrong(&findings), [("feature-bridge-family", State::Fail, "missing: no")]);
}

#[test]
fn bridges_of_pods_must_be_shown_to_the_rules() {
    use BridgeNf::{Absent, Off, On};
    let (v4, v6) = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables");
    let found = |name: &str, v4, v6, mode, writable| {
        let findings = with(|seen| {
            let facts = seen.facts.as_mut().unwrap();
            (facts.bridges, facts.bridge_nf_v4, facts.bridge_nf_v6) =
                (vec![bridge(name, PortKind::Veth)], v4, v6);
            seen.bridge_nf = mode;
            seen.network.as_mut().unwrap().bridge_nf_writable = writable;
        });
        of(&findings, "bridge-nf").clone()
    };
    let well = found("cni0", On, On, Mode::Check, false);
    assert_eq!((well.state, &*well.found), (State::Ok, "what bridge cni0 forwards is shown to the rules"));
    let off = found("cni0", Off, On, Mode::Check, true);
    assert_eq!((off.state, off.found), (State::Fail, format!("pods hang on bridge cni0, and {v4} is 0")));
    assert!(off.remedy.unwrap().starts_with("--bridge-nf set"));
    let read_only = found("cni0", On, Off, Mode::Set, false);
    assert_eq!(
        (read_only.state, read_only.found),
        (State::Fail, format!("pods hang on bridge cni0, and {v6} is 0"))
    );
    assert!(read_only.remedy.unwrap().contains("privileged: true"));
    let mended = found("cni0", Off, Off, Mode::Set, true);
    assert_eq!(mended.state, State::Warn, "an agent with the option sets it");
    let absent = found("cni0", Absent, Absent, Mode::Set, false);
    assert_eq!(absent.state, State::Fail);
    assert!(absent.found.ends_with("is absent") && absent.remedy.unwrap().contains("br_netfilter"));
    for other in ["docker0", "br-0123456789ab", "virbr0"] {
        assert_eq!(found(other, Off, Off, Mode::Check, true).state, State::Warn, "{other}");
    }
    let physical = with_facts(|facts| {
        facts.bridges = vec![bridge("br0", PortKind::Physical)];
        facts.bridge_nf_v4 = Off;
    });
    assert_eq!(of(&physical, "bridge-nf").state, State::Ok);
}

#[test]
fn ways_past_the_rules_fail() {
    type Change = fn(&mut NodeFacts);
    let ways: [(&str, Change); 4] = [
        ("ipvs", |facts| facts.ipvs = true),
        ("flowtables", |facts| facts.flowtables = names(&["inet calico ft"])),
        ("netkit", |facts| facts.netkit = true),
        ("openvswitch", |facts| facts.openvswitch = true),
    ];
    for (name, change) in ways {
        let findings = with_facts(change);
        let [(only, State::Fail, _)] = wrong(&findings)[..] else { panic!("{findings:?}") };
        assert_eq!(only, name);
    }
    let findings = with(|seen| seen.facts = None);
    assert!(wrong(&findings).is_empty() && of(&findings, "ipvs").state == State::Skipped);
}

#[test]
fn forwarding_must_be_on_for_one_family() {
    for (v4, v6, state) in [
        (Some(true), Some(true), State::Ok),
        (Some(true), Some(false), State::Ok),
        (Some(true), None, State::Ok),
        (Some(false), Some(true), State::Ok),
        (Some(false), Some(false), State::Fail),
        (Some(false), None, State::Fail),
        (None, None, State::Skipped),
    ] {
        let findings = with_network(|network| (network.forwarding_v4, network.forwarding_v6) = (v4, v6));
        assert_eq!(of(&findings, "forwarding").state, state, "{v4:?} {v6:?}");
    }
}

#[test]
fn connection_tracking_has_room() {
    for (counts, state) in [
        (Some((100, 262_144)), State::Ok),
        (Some((209_715, 262_144)), State::Ok),
        (Some((209_716, 262_144)), State::Warn),
        (Some((0, 8_192)), State::Warn),
        (Some((0, 0)), State::Warn),
        (None, State::Skipped),
    ] {
        let findings = with_network(|network| network.conntrack = counts);
        assert_eq!(of(&findings, "conntrack").state, state, "{counts:?}");
    }
}

#[test]
fn another_enforcer_is_named_with_its_traces() {
    let findings = with_network(|network| {
        let chains = &mut network.netfilter.as_mut().unwrap().chains;
        chains.insert("KUBE-NWPLCY-".to_owned(), 7);
    });
    let found =
        "kube-router enforces NetworkPolicy here, or has left its rules behind: 7 chains KUBE-NWPLCY-…";
    assert_eq!(wrong(&findings), [("other-enforcers", State::Warn, found)]);
    let findings = with_network(|network| network.devices = names(&["cali0123456789a"]));
    assert_eq!(wrong(&findings), [], "Calico for networking only");
    assert!(of(&findings, "other-enforcers").found.starts_with("Calico is here"));
}

#[test]
fn what_could_not_be_seen_is_told() {
    let findings = with(|seen| {
        seen.processes = None;
        seen.bpf = None;
        let network = seen.network.as_mut().unwrap();
        network.netfilter = None;
        network.legacy_tables = names(&["filter"]);
    });
    let hidden = of(&findings, "other-enforcers-unseen");
    assert_eq!(hidden.state, State::Skipped);
    for part in ["netlink", "no hostPID", "/sys/fs/bpf", "iptables-legacy", "kubectl flock check --pre"] {
        assert!(hidden.found.contains(part), "{part}: {}", hidden.found);
    }
    let findings = with(|seen| seen.network = Err("no".to_owned()));
    assert!(wrong(&findings).is_empty());
    for name in ["forwarding", "conntrack", "table"] {
        assert_eq!(of(&findings, name).state, State::Skipped);
    }
}

#[test]
fn what_the_runtime_takes_of_cni() {
    let cases: [(Cni, [(&str, State); 2]); 8] = [
        (folder(&[("10-a.conflist", OURS)]), [("cni", State::Ok), ("cni-plugin", State::Ok)]),
        (folder(&[("10-a.conflist", BARE)]), [("cni", State::Ok), ("cni-plugin", State::Warn)]),
        (
            Cni { is_wanted: false, ..folder(&[("10-a.conflist", BARE)]) },
            [("cni", State::Ok), ("cni-plugin", State::Skipped)],
        ),
        (
            Cni { binary: Some(false), ..folder(&[("10-a.conflist", OURS)]) },
            [("cni", State::Ok), ("cni-plugin", State::Fail)],
        ),
        (
            Cni { binary: None, ..folder(&[("10-a.conflist", OURS)]) },
            [("cni", State::Ok), ("cni-plugin", State::Skipped)],
        ),
        (
            folder(&[("05-x.conflist", BARE), ("10-a.conflist", OURS)]),
            [("cni", State::Ok), ("cni-plugin", State::Warn)],
        ),
        (
            folder(&[("05-x.conf", r#"{"cniVersion":"1.0.0","name":"x","type":"ptp"}"#)]),
            [("cni", State::Ok), ("cni-plugin", State::Warn)],
        ),
        (folder(&[("05-x.conflist", "{")]), [("cni", State::Warn), ("cni-plugin", State::Warn)]),
    ];
    for (cni, expected) in cases {
        let findings = with(|seen| seen.cni = cni.clone());
        for (name, state) in expected {
            assert_eq!(of(&findings, name).state, state, "{name}: {cni:?}");
        }
    }
    let other = with(|seen| seen.cni = folder(&[("05-x.conflist", BARE), ("10-a.conflist", OURS)]));
    assert!(
        of(&other, "cni-plugin").found.starts_with("part of 10-a.conflist, while the runtime takes 05-x")
    );
    assert_eq!(of(&with(|seen| seen.cni = folder(&[])), "cni").state, State::Warn);
    let hidden = with(|seen| seen.cni.files = None);
    assert!(of(&hidden, "cni").found.contains("--cni-conf-dir"));
}

#[test]
fn memory_for_the_heaviest_table() {
    let memory = |available, limit| {
        let findings = with(|seen| seen.memory = Memory { available, limit, nft: 512 << 20 });
        of(&findings, "memory").state
    };
    assert_eq!(memory(Some(8 << 30), Some(768 << 20)), State::Ok);
    assert_eq!(memory(Some(8 << 30), None), State::Ok);
    assert_eq!(memory(Some(8 << 30), Some(512 << 20)), State::Warn);
    assert_eq!(memory(Some(256 << 20), None), State::Warn);
    assert_eq!(memory(None, None), State::Skipped);
}

#[test]
fn the_state_folder_is_the_agents_alone() {
    let cases = [
        (THERE, State::Ok),
        (StateFolder::Missing, State::Ok),
        (StateFolder::Unusable("it is no folder".to_owned()), State::Fail),
        (StateFolder::There { uid: 1000, mode: 0o700, writable: true, kept: false }, State::Fail),
        (StateFolder::There { uid: 0, mode: 0o770, writable: true, kept: false }, State::Fail),
        (StateFolder::There { uid: 0, mode: 0o755, writable: false, kept: false }, State::Fail),
        (StateFolder::There { uid: 0, mode: 0o755, writable: true, kept: false }, State::Ok),
    ];
    for (folder, state) in cases {
        let findings = with(|seen| seen.state = Some((PathBuf::from("/s"), folder.clone())));
        assert_eq!(of(&findings, "state-dir").state, state, "{folder:?}");
    }
    assert_eq!(of(&with(|seen| seen.state = None), "state-dir").state, State::Skipped);
}
