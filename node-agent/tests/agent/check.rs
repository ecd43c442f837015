//! `--check` as a process, in a network namespace of its own and against an nft that is none.

use std::collections::BTreeMap;
use std::process::Output;

use serde_json::Value;

use crate::kernel::Namespace;
use crate::process::{agent, end};

/// Settings of IPv4 come from the machine's own namespace when one is made.
const FORWARD_NOTHING: &str =
    "for of in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 0 > /proc/sys/net/$of; done";

/// What it found, by name; the last of those that have one name. Its exit status agrees with it.
async fn checked(arguments: &[&str]) -> BTreeMap<String, Value> {
    let arguments = [&["--check", "-o", "json"], arguments].concat();
    let Output { status, stdout, stderr } = end(agent(&arguments).spawn().unwrap()).await;
    let report: Value = serde_json::from_slice(&stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)));
    assert_eq!(status.code(), Some(i32::from(report["well"] == false)), "{report:#}");
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|finding| (finding["name"].as_str().unwrap().to_owned(), finding.clone())).collect()
}

fn state<'a>(found: &'a BTreeMap<String, Value>, name: &str) -> &'a str {
    found.get(name).unwrap_or_else(|| panic!("no {name}: {found:#?}"))["state"].as_str().unwrap()
}

fn words<'a>(found: &'a BTreeMap<String, Value>, name: &str) -> &'a str {
    found[name]["found"].as_str().unwrap()
}

#[tokio::test]
async fn features_are_tried_and_nothing_is_left_behind() {
    let Some(namespace) = Namespace::new("check") else { return };
    namespace.apply("table inet flock_netpol {\n}\n");
    let before = namespace.list("list tables");
    namespace.sh(FORWARD_NOTHING);
    let found = checked(&["--nft", &namespace.nft(), "--node", "n1"]).await;
    for name in
        ["nft", "privileges", "feature-inet-family", "feature-forward-hook", "feature-hash-sets", "table"]
    {
        assert_eq!(state(&found, name), "ok", "{found:#?}");
    }
    for name in ["interval-sets", "concatenated-intervals", "verdict-maps", "connection-tracking"] {
        assert_eq!(state(&found, &format!("feature-{name}")), "ok", "{found:#?}");
    }
    // Other kernels lack some of these: then nft refuses them here, too.
    for (name, rule) in [
        ("fib-address-type", "fib daddr type local accept"),
        ("fib-reverse-path", "fib saddr . iif oif missing drop"),
        ("reject", "meta l4proto tcp reject with tcp reset"),
    ] {
        let has_it = namespace.takes(&format!("table inet theirs {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n"));
        let expected = if has_it { "ok" } else { "fail" };
        assert_eq!(state(&found, &format!("feature-{name}")), expected, "{found:#?}");
    }
    let _ = namespace.takes("delete table inet theirs\n");
    assert_eq!(namespace.list("list tables"), before);
    assert_eq!(words(&found, "forwarding"), "off");
    namespace.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    let found = checked(&["--nft", &namespace.nft()]).await;
    assert_eq!(state(&found, "forwarding"), "ok");
    assert_eq!(words(&found, "bridge-nf"), "no pod hangs on a bridge");
}

#[tokio::test]
async fn another_enforcer_is_named_by_its_tables_and_devices() {
    let Some(namespace) = Namespace::new("check-others") else { return };
    let found = checked(&["--nft", &namespace.nft()]).await;
    let hidden = state(&found, "other-enforcers");
    // Processes are the machine's own, where they can be seen.
    assert!(["ok", "warn"].contains(&hidden), "{found:#?}");
    assert!(!words(&found, "other-enforcers").contains("KUBE-"), "{found:#?}");
    namespace.apply(
        "table ip filter {\n\tchain KUBE-ROUTER-FORWARD {\n\t}\n\tchain KUBE-NWPLCY-ABCDEFGH {\n\t}\n\tchain FORWARD {\n\t\tjump KUBE-ROUTER-FORWARD\n\t}\n}\n",
    );
    let found = checked(&["--nft", &namespace.nft()]).await;
    assert_eq!(state(&found, "other-enforcers"), "warn");
    let expected = "kube-router enforces NetworkPolicy here, or has left its rules behind: 1 chains KUBE-NWPLCY-…, 1 chains KUBE-ROUTER-…";
    assert_eq!(words(&found, "other-enforcers"), expected);
    namespace.apply("delete table ip filter\ntable inet kube-network-policies {\n}\n");
    let found = checked(&["--nft", &namespace.nft()]).await;
    assert!(words(&found, "other-enforcers").contains("table inet kube-network-policies"), "{found:#?}");
}

#[tokio::test]
async fn bridges_of_pods_that_the_rules_do_not_see_fail() {
    let Some(namespace) = Namespace::new("check-bridge").and_then(Namespace::with_bridge) else { return };
    if namespace.set_bridge_nf(0).is_none() {
        let found = checked(&["--nft", &namespace.nft()]).await;
        assert_eq!(state(&found, "bridge-nf"), "fail");
        return;
    }
    let found = checked(&["--nft", &namespace.nft()]).await;
    assert_eq!(state(&found, "bridge-nf"), "fail");
    assert!(
        words(&found, "bridge-nf").starts_with("pods hang on bridge cni0, and net.bridge."),
        "{found:#?}"
    );
    let found = checked(&["--nft", &namespace.nft(), "--bridge-nf", "set"]).await;
    assert_eq!(state(&found, "bridge-nf"), "warn", "an agent would set it: {found:#?}");
    assert_eq!(namespace.bridge_nf(), ["0", "0"], "a check sets nothing");
    namespace.set_bridge_nf(1);
    let found = checked(&["--nft", &namespace.nft()]).await;
    assert_eq!(state(&found, "bridge-nf"), "ok");
}

#[tokio::test]
async fn without_nft_the_rest_is_told_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("state");
    std::fs::create_dir(&state_dir).unwrap();
    std::os::unix::fs::chown(&state_dir, Some(rustix::process::geteuid().as_raw()), None).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&state_dir, open).unwrap();
    let conf = folder.path().join("net.d");
    std::fs::create_dir(&conf).unwrap();
    let list = r#"{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"ptp"},{"type":"flock-cni"}]}"#;
    std::fs::write(conf.join("10-pods.conflist"), list).unwrap();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (state_dir, conf, bin) = (text(&state_dir), text(&conf), text(&bin));
    let folders = ["--state-dir", &state_dir, "--cni-conf-dir", &conf, "--cni-bin-dir", &bin];
    let found = checked(&[&["--nft", "/nonexistent/nft"], &folders[..]].concat()).await;
    assert_eq!((state(&found, "nft"), state(&found, "features")), ("fail", "skipped"), "{found:#?}");
    assert_eq!((state(&found, "state-dir"), state(&found, "cni")), ("fail", "ok"), "{found:#?}");
    assert_eq!(state(&found, "cni-plugin"), "fail", "its binary is missing: {found:#?}");
    assert!(words(&found, "state-dir").ends_with("mode 0777"), "{found:#?}");
}

#[tokio::test]
async fn what_could_not_be_seen_is_skipped_and_people_read_why() {
    let Some(namespace) = Namespace::new("check-hidden") else { return };
    let found = checked(&["--nft", &namespace.secluded_nft()]).await;
    for name in ["forwarding", "bridge-nf", "ipvs"] {
        assert_eq!(state(&found, name), "skipped", "{found:#?}");
    }
    assert_eq!(state(&found, "feature-inet-family"), "ok");
    namespace.sh(FORWARD_NOTHING);
    let output = end(agent(&["--check", "--nft", &namespace.nft(), "--node", "n1"]).spawn().unwrap()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("✓ ok       nft "), "{text}");
    assert!(output.status.code() == Some(1) && text.contains("\nn1 is not well: "), "{text}");
}
