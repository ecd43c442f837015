//! Bad input: every manifest in `manifests/bad/` names, in its `# expect:` lines, all that `render` says about it
//! (PATH is the manifest). Nothing panics, and a bad manifest takes nothing away from what was in force.

#![allow(clippy::unwrap_used, reason = "clippy takes helpers outside of test functions for ordinary code")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;
use flock_compiler::cli::{Cli, Command};
use flock_compiler::render::{Rendering, render};
use flock_compiler::source::manifests::ManifestsSource;
use flock_compiler::source::{Source as _, SourceEvent};
use flock_compiler_core::{World, translate};
use flock_convert::HostInterfaces;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/bad")
}

fn bad_manifests() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(found.len() >= 19, "bad manifests are gone: {} left", found.len());
    found
}

/// What `flock-compiler render` comes to, called as a user would call it: outcome, script, messages.
fn rendered(manifests: &Path, options: &str) -> (Rendering, String, String) {
    let manifests = manifests.to_str().unwrap();
    let command =
        ["flock-compiler", "render", "--manifests", manifests].into_iter().chain(options.split_whitespace());
    let Command::Render(options) = Cli::try_parse_from(command).unwrap().command else {
        panic!("not render")
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let rendering = render(&options, &mut out, &mut err).unwrap();
    (rendering, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn every_bad_manifest_is_told_by_file_object_and_field() {
    let mut different = Vec::new();
    for path in bad_manifests() {
        let text = fs::read_to_string(&path).unwrap();
        let comments = |key: &str| {
            let prefix = format!("# {key}: ");
            text.lines().filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).collect::<Vec<_>>()
        };
        let (rendering, script, messages) = rendered(&path, &comments("render").concat());
        let name = path.to_str().unwrap();
        let expected: Vec<String> =
            comments("expect").iter().map(|line| line.replace("PATH", name)).collect();
        if messages.lines().collect::<Vec<_>>() != expected {
            different.push(format!("{name}:\n{messages}"));
        }
        let is_bad = expected.iter().any(|line| line.starts_with("error: "));
        assert_eq!(rendering, if is_bad { Rendering::BadInput } else { Rendering::Done }, "{name}");
        assert_eq!(script.is_empty(), is_bad, "{name}");
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn bad_input_on_the_command_line_exits_with_2() {
    let render = |manifest: &str| {
        let path = folder().join(manifest);
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_flock-compiler"))
            .args(["render", "--node", "n1", "--manifests"])
            .arg(path)
            .output()
            .unwrap();
        (command.status.code(), String::from_utf8(command.stderr).unwrap())
    };
    let (code, message) = render("cidr.yaml");
    assert_eq!(code, Some(2), "{message}");
    assert!(
        message.contains("cidr.yaml: NetworkPolicy shop/p: spec.ingress[0].from[0].ipBlock.cidr: "),
        "{message}"
    );
    assert_eq!(render("unknown-kind.yaml").0, Some(0));
    let (code, message) = render("workloads.yaml");
    assert!(code == Some(2) && message.contains("error: this isolates nothing"), "{message}");
}

#[test]
fn a_policy_that_is_not_understood_isolates_if_rendered_all_the_same() {
    let (rendering, script, messages) = rendered(&folder().join("cidr.yaml"), "--node n1 --allow-invalid");
    assert_eq!(rendering, Rendering::Done);
    assert!(messages.contains("warning: "), "{messages}");
    assert!(script.contains("10.0.0.1"), "the pod is not isolated:\n{script}");
}

#[test]
fn ten_thousand_labels_are_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let labels: Vec<String> = (0..10_000).map(|i| format!("key-{i}: value-{i}")).collect();
    let labels = labels.join(", ");
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: a, labels: {{{labels}}}}}, spec: {{nodeName: n1}}, \
         status: {{podIP: 10.0.0.1}}}}\n---\n\
         {{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p}}, \
         spec: {{podSelector: {{matchLabels: {{{labels}}}}}}}}}\n"
    );
    fs::write(dir.path().join("labels.yaml"), text).unwrap();
    let (rendering, script, messages) = rendered(dir.path(), "--node n1");
    assert_eq!(rendering, Rendering::Done, "{messages}");
    assert!(script.contains("10.0.0.1") && !script.contains("value-"), "{script}");
}

/// What `kubectl get pods,namespaces,networkpolicies,nodes -A -o yaml` prints, with all its other fields.
#[test]
fn what_kubectl_prints_is_understood() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/kubectl-get.yaml");
    let (rendering, script, messages) = rendered(&path, "--node worker-1");
    assert_eq!((rendering, &*messages), (Rendering::Done, ""));
    assert!(script.contains("10.244.1.7") && script.contains("fd00:10:244:1::7"), "{script}");
}

const GOOD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: good-NUMBER, namespace: shop}
spec: {nodeName: n1}
status: {podIP: 10.1.0.NUMBER}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: good-NUMBER, namespace: shop}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.NUMBER/32}}]}]}
";

/// Good manifests are overwritten with all bad ones that hold no usable object.
#[test]
fn a_bad_manifest_takes_nothing_from_the_ruleset_that_was() {
    let bad: Vec<String> = bad_manifests()
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .filter(|text| text.lines().any(|line| line.starts_with("# expect: error: PATH: ")))
        .filter(|text| !text.contains("(the pods it selects") && !text.contains("(the field is"))
        .chain(["".to_owned(), "{\"apiVersion\": \"v1\", ".to_owned()])
        .collect();
    assert!(bad.len() >= 7, "{} left", bad.len());
    let dir = tempfile::tempdir().unwrap();
    let path = |number: usize| dir.path().join(format!("{number}.yaml"));
    for number in 0..bad.len() {
        fs::write(path(number), GOOD.replace("NUMBER", &number.to_string())).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (sender, mut events) = tokio::sync::mpsc::channel(64);
        let source =
            tokio::spawn(ManifestsSource::new(dir.path().to_owned(), HostInterfaces::None).run(sender));
        let mut world = World::default();
        while !world.is_complete() {
            match events.recv().await {
                Some(SourceEvent::Changes { changes, .. }) => {
                    for change in changes {
                        world.apply(change);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        let node = "n1".parse().unwrap();
        let before = translate(&world).output(&node);
        assert_eq!(world.policies().len(), bad.len());

        for (number, text) in bad.iter().enumerate() {
            fs::write(path(number), text).unwrap();
        }
        let mut reported = 0;
        while reported < bad.len() {
            match events.recv().await {
                Some(SourceEvent::Report { problems, .. }) => reported += usize::from(!problems.is_empty()),
                Some(SourceEvent::Changes { changes, .. }) => {
                    for change in changes {
                        assert!(world.apply(change.clone()).is_empty(), "{change:?}");
                    }
                }
                None => panic!("the source ended"),
            }
        }
        assert_eq!(translate(&world).output(&node), before);
        let nothing_more = tokio::time::timeout(Duration::from_millis(50), events.recv()).await;
        assert!(!matches!(nothing_more, Ok(Some(SourceEvent::Changes { .. }))), "{nothing_more:?}");
        drop(events);
        source.await.unwrap().unwrap();
    });
}
