//! The checks that users make on their clusters, on a simulated one: they pass, they fail where nothing enforces, and whatever
//! happens leaves nothing behind.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use flock_lab::{Lab, skipped};
use flock_testkit::{NAMESPACE, NETWORK_POLICY, NODE, POD, SERVICE};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::api::Api;
use crate::support::process::Process;
use crate::support::programs::{COMPILER, profile_directory, program};

/// `flock-e2e` on a simulated cluster of this API server.
fn e2e(api: &Api, folder: &Path, programs: &Path, arguments: &[&str]) -> Command {
    // The others are built, and up to date.
    drop(program(COMPILER));
    let mut command = Command::new(env!("CARGO_BIN_EXE_flock-e2e"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOCK_")) {
        command.env_remove(name);
    }
    let kubeconfig = api.server.write_kubeconfig(folder).unwrap();
    command
        .arg("--simulate")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--programs")
        .arg(programs)
        .args(arguments);
    command
}

fn is_possible() -> bool {
    let available = Lab::available();
    if let Err(why) = &available {
        skipped(why);
    }
    available.is_ok()
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// Fails if there is an object left.
fn assert_clean(api: &Api) {
    for kind in [NAMESPACE, NODE, POD, SERVICE, NETWORK_POLICY] {
        assert_eq!(api.server.store().all(kind), [] as [serde_json::Value; 0], "{kind:?}");
    }
}

#[test]
fn checks_of_a_cluster_pass_where_policies_are_enforced() {
    if !is_possible() {
        return;
    }
    let (api, folder) = (Api::start(), tempfile::tempdir().unwrap());
    let junit = folder.path().join("report.xml");
    let only = "named-port,service,first-packet";
    let arguments = ["--only", only, "--junit", junit.to_str().unwrap()];
    let output = e2e(&api, folder.path(), &profile_directory(), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("3 checks: 3 passed, 0 failed, 0 skipped"), "{}", text(&output));
    let report = std::fs::read_to_string(junit).unwrap();
    assert!(
        report.contains("tests=\"3\" failures=\"0\"") && report.contains("name=\"first-packet: "),
        "{report}"
    );
    assert_clean(&api);
}

#[test]
fn checks_of_a_cluster_fail_where_nothing_is_enforced() {
    if !is_possible() {
        return;
    }
    let (api, folder) = (Api::start(), tempfile::tempdir().unwrap());
    let programs = folder.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    symlink(profile_directory().join(COMPILER), programs.join(COMPILER)).unwrap();
    // It runs and does nothing.
    let idle = "#!/bin/sh\nexec tail -f /dev/null\n";
    std::fs::write(programs.join("flock-node-agent"), idle).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(programs.join("flock-node-agent"), mode).unwrap();
    let arguments = ["--only", "open,deny-ingress", "--timeout", "1"];
    let output = e2e(&api, folder.path(), &programs, &arguments).output().unwrap();
    let words = text(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("2 checks: 1 passed, 1 failed") && words.contains("should be dropped: Reached"),
        "{words}"
    );
    assert_clean(&api);
}

#[test]
fn checks_that_are_interrupted_leave_nothing_and_wrong_ones_make_nothing() {
    if !is_possible() {
        return;
    }
    let (api, folder) = (Api::start(), tempfile::tempdir().unwrap());
    let unknown = e2e(&api, folder.path(), &profile_directory(), &["--only", "none"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown));
    let command = e2e(&api, folder.path(), &profile_directory(), &["--hold", "600"]);
    let mut process = Process::start(command, folder.path());
    process.line("pods run after");
    kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(process.ended().code(), Some(130), "{}", process.log());
    let lab = format!("flock-lab-{}-", process.id());
    let left = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let left: Vec<_> = left.filter(|it| it.file_name().to_string_lossy().starts_with(&lab)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_clean(&api);
}
