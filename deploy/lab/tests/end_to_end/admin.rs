//! The admin port and the ports in general: probes, metrics, refusals.

use std::process::Output;

use crate::ground::NODES;
use crate::manifests::{DENY, Manifests};
use crate::site::Site;
use crate::support::programs::{COMPILER, program};
use crate::support::wait::wait_until;

#[test]
fn nothing_is_published_before_every_manifest_was_readable() {
    let Some(site) = Site::with("unready", "kind: [") else { return };
    let _agents = site.agents();
    wait_until("the problem and the agents", || {
        !site.flockctl.problems().is_empty()
            && NODES
                .iter()
                .all(|name| site.flockctl.nodes().iter().any(|it| it.node == *name && it.connected))
    });
    assert_eq!(site.compiler.admin("/healthz"), (200, "ok\n".to_owned()));
    let (status, reason) = site.compiler.admin("/readyz");
    assert_eq!((status, reason.is_empty()), (503, false));
    for node in NODES {
        let status = site.flockctl.node(node);
        assert_eq!((status.desired_revision, status.applied_revision), (None, None), "{node}");
        assert!(!site.ground.has_table(node));
        assert!(site.flockctl.complaint(3, &["script", node]).contains("listed yet"));
    }
    assert_eq!(site.flockctl.problems()[0].source, site.manifests.file("cluster.yaml"));

    site.manifests.put("cluster.yaml", crate::manifests::CLUSTER);
    site.settle();
    // What was translated first is checked meanwhile.
    wait_until("a compiler that is ready", || site.compiler.admin("/readyz") == (200, "ok\n".to_owned()));
    assert_eq!(NODES.map(|node| site.ground.scripts(node)), [1, 1], "nothing came before the whole");
}

#[test]
fn metrics_tell_what_happened() {
    let Some(site) = Site::new("metrics") else { return };
    site.manifests.put("policies.yaml", DENY);
    let _agents = site.agents();
    site.settle();
    let expected = [
        ("flock_compiler_ready", 1.0),
        ("flock_compiler_not_ready{reason=\"not_listed\"}", 0.0),
        ("flock_compiler_problems{kind=\"policy_not_understood\"}", 0.0),
        ("flock_compiler_behind_age_seconds", 0.0),
        ("flock_compiler_streams", 2.0),
        ("flock_compiler_objects{kind=\"Node\"}", 2.0),
        ("flock_compiler_objects{kind=\"Namespace\"}", 1.0),
        ("flock_compiler_objects{kind=\"Pod\"}", 3.0),
        ("flock_compiler_objects{kind=\"NetworkPolicy\"}", 1.0),
        ("flock_compiler_nodes{state=\"current\"}", 2.0),
        ("flock_compiler_nodes{state=\"behind\"}", 0.0),
        ("flock_compiler_nodes{state=\"offline\"}", 0.0),
        ("flock_compiler_nodes{state=\"not known\"}", 0.0),
    ];
    for (series, value) in expected {
        assert_eq!(site.compiler.metric(series), Some(value), "{series}");
    }
    for series in [
        "flock_compiler_events_total",
        "flock_compiler_sent_bytes_total{kind=\"full\"}",
        "flock_compiler_apply_seconds_count",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "flock_compiler_updates_total{kind=\"full\"}",
        "flock_compiler_acks_total{outcome=\"applied\"}",
        "flock_compiler_translation_seconds_count",
    ] {
        assert!(site.compiler.metric(series).is_some_and(|value| value > 0.0), "{series}");
    }
    // What both agents had to take after they had come.
    let measured = site.compiler.metric("flock_compiler_propagation_seconds_count").unwrap();
    site.manifests.remove("policies.yaml");
    site.settle();
    wait_until("the way of that change", || {
        site.compiler.metric("flock_compiler_propagation_seconds_count") > Some(measured)
    });
    let sent = site.compiler.metric("flock_compiler_sent_bytes_total{kind=\"delta\"}");
    assert!(sent.is_some_and(|sent| sent > 0.0), "{sent:?}");

    let (_, text) = site.compiler.admin("/metrics");
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(site.compiler.admin("/nothing").0, 404);
}

fn serve(options: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = program(COMPILER).arg("serve").args(options).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn ports_beyond_loopback_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let manifests = Manifests::new(directory.path());
    for option in ["--listen", "--admin-listen"] {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let (code, errors) = serve(&["--manifests", manifests.path(), option, address]);
            assert_eq!(code, Some(2), "{option} {address}: {errors}");
            assert!(errors.contains(option) && errors.contains("loopback"), "{errors}");
        }
    }
}

#[test]
fn what_cannot_be_served_ends_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let missing = missing.to_str().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let on_taken = |option: &str| {
        let mut options = free;
        let place = options.iter().position(|it| *it == option).unwrap();
        options[place + 1] = &address;
        serve(&[&["--manifests", directory.path().to_str().unwrap()], &options[..]].concat())
    };
    for option in ["--listen", "--admin-listen"] {
        let (code, errors) = on_taken(option);
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains(&format!("{option} {address}: ")) && errors.contains("in use"), "{errors}");
    }
    let (code, errors) = serve(&[&["--manifests", missing], &free[..]].concat());
    assert_eq!(code, Some(1), "{errors}");
    assert!(
        errors.contains(&format!("cannot read {missing}: ")) && errors.contains("No such file"),
        "{errors}"
    );
}
