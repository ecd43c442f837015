//! The demo says what it does before it does anything.

use std::process::{Command, Output};

use crate::support::programs::workspace;

fn said(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn the_demo_has_help_and_does_nothing_else_then() {
    let demo = || Command::new(env!("CARGO_BIN_EXE_flock-demo"));
    let (code, help) = said(demo().arg("--help"));
    assert_eq!(code, Some(0), "{help}");
    assert!(help.contains("Usage: flock-demo") && help.contains("Exit status"), "{help}");
    assert!(!help.contains("Before: no policies"), "it has begun: {help}");
    let (code, complaint) = said(demo().arg("--fast"));
    assert!(code == Some(2) && complaint.contains("--fast"), "{complaint}");
    let (code, help) =
        said(Command::new("bash").current_dir("/").arg(workspace().join("deploy/demo")).arg("-h"));
    assert!(code == Some(0) && help.contains("Usage: deploy/demo") && !help.contains("building"), "{help}");
}
