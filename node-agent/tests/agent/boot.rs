//! Installing what restores at boot, as a process on a host that is a folder: what is there then runs with nothing else of
//! the system, and goes without a trace.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flock_node_agent::install::boot::elf::{Linkage, linkage};
use flock_testkit::compiler::patiently;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::kernel::skipped;
use crate::process::{agent, end, signal};
use crate::restoring;
use crate::stage::{Stage, until};
use crate::updates::revision;

const PROGRAMS: [&str; 2] = ["bin/flock-node-agent", "bin/nft"];

/// A host with systemd's folder of units.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(host.path("etc/systemd/system")).unwrap();
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn unit(&self) -> PathBuf {
        self.path("etc/systemd/system/flock-restore.service")
    }

    fn link(&self) -> PathBuf {
        self.path("etc/systemd/system/multi-user.target.wants/flock-restore.service")
    }

    async fn run(&self, command: &str, more: &[&str]) -> Output {
        let root = self.0.path().to_str().unwrap();
        end(agent(&[&[command, "--host-root", root], more].concat()).spawn().unwrap()).await
    }

    async fn install(&self, more: &[&str]) -> Output {
        self.run("install-restore", &[&["--once"], more].concat()).await
    }

    /// Every file and link, with its number and mode.
    fn tree(&self) -> BTreeMap<PathBuf, (u64, u32)> {
        let mut all = BTreeMap::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let metadata = entry.path().symlink_metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    all.insert(entry.path(), (metadata.ino(), metadata.mode() & 0o7777));
                }
            }
        }
        all
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_done(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

fn has_nft() -> bool {
    let found = Command::new("nft").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        skipped("needs nft");
    }
    found
}

#[tokio::test]
async fn programs_libraries_unit_and_link_are_put_there_once_and_go_without_a_trace() {
    if !has_nft() {
        return;
    }
    let host = Host::new();
    fs::create_dir_all(host.path("opt/flock/lib")).unwrap();
    fs::write(host.path("opt/flock/lib/others"), "").unwrap();
    let before = host.tree();
    assert_done(&host.install(&["--node", "n1"]).await);
    let installed = host.tree();
    for program in PROGRAMS {
        let path = host.path("opt/flock").join(program);
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o755, "{program}");
        if let Linkage::Dynamic(loader) = linkage(&fs::read(path).unwrap()) {
            let loader = Path::new(&loader).file_name().unwrap().to_str().unwrap().to_owned();
            assert!(host.path("opt/flock/lib").join(loader).is_file(), "{program}");
        }
    }
    let unit = fs::read_to_string(host.unit()).unwrap();
    assert!(unit.contains(" --restore --state-dir=/var/lib/flock --node=n1 "), "{unit}");
    assert!(!unit.contains(host.0.path().to_str().unwrap()), "paths are the host's: {unit}");
    assert_eq!(fs::read_to_string(host.link()).unwrap(), unit, "the link leads there from wherever");

    assert_done(&host.install(&["--node", "n1"]).await);
    let again = host.tree();
    let of_programs = |tree: &BTreeMap<PathBuf, (u64, u32)>| -> Vec<_> {
        let is_program = |path: &Path| path.to_string_lossy().contains("/flock/bin/");
        tree.iter().filter(|(path, _)| is_program(path)).map(|(path, file)| (path.clone(), *file)).collect()
    };
    assert_eq!(of_programs(&again), of_programs(&installed), "what is the same is not written again");

    // Of an earlier version, which needed another library.
    fs::write(host.path("opt/flock/lib/libold.so.1"), "").unwrap();
    let list = host.path("opt/flock/installed");
    fs::write(&list, fs::read_to_string(&list).unwrap() + "lib/libold.so.1\n../../etc/passwd\nlib/../x\n")
        .unwrap();
    assert_done(&host.install(&[]).await);
    assert!(!host.path("opt/flock/lib/libold.so.1").exists());

    let removed = host.run("uninstall-restore", &[]).await;
    assert_done(&removed);
    assert!(text(&removed.stdout).contains("/opt/flock/bin/nft"), "{}", text(&removed.stdout));
    assert_eq!(host.tree(), before, "what is somebody else's stays");
    let nothing = host.run("uninstall-restore", &[]).await;
    assert_eq!(text(&nothing.stdout), "nothing that restores at boot is installed\n");
}

#[tokio::test]
async fn what_cannot_be_installed_is_told_and_there_is_no_unit() {
    if !has_nft() {
        return;
    }
    let host = Host::new();
    let refused = async |more: &[&str], words: &str| {
        let output = host.install(more).await;
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(words), "{:?}: {said}", output.status);
        assert!(!host.unit().exists() && !host.link().exists(), "{words}");
    };
    let script = host.path("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    refused(&["--nft-program", script.to_str().unwrap()], "is no program").await;
    refused(&["--nft-program", "/nonexistent/nft"], "/nonexistent/nft").await;
    refused(&["--unit-dir", "/etc/nowhere"], "is this a host with systemd?").await;
    refused(&["--nft-program", "/bin/false"], "does not run").await;
    let exposed = host.path("opt/flock");
    fs::create_dir_all(&exposed).unwrap();
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o777)).unwrap();
    refused(&[], "may be written by others").await;
    let usage = host.install(&["--prefix", "/opt/a b"]).await;
    assert_eq!(usage.status.code(), Some(2));
}

#[tokio::test]
async fn it_is_tried_until_it_is_done_and_stays_until_it_is_stopped() {
    if !has_nft() {
        return;
    }
    let host = Host::new();
    let root = host.0.path().to_str().unwrap().to_owned();
    let child = agent(&["install-restore", "--host-root", &root]).spawn().unwrap();
    until(|| host.link().exists()).await;
    signal(&child, Signal::TERM);
    assert_done(&end(child).await);
    assert!(host.unit().exists(), "what is installed stays");
}

/// The command that a unit runs, as words.
fn command_of(unit: &Path) -> Vec<String> {
    let text = fs::read_to_string(unit).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap().to_owned();
    shlex::split(&line).unwrap()
}

#[tokio::test]
async fn what_is_installed_restores_with_nothing_else_of_the_system_and_one_capability() {
    let Some(mut stage) = Stage::new("boot").await else { return };
    restoring::down(&mut stage).await;
    let host = Host::new();
    assert_done(&host.install(&[]).await);
    // As much of a system as nft's standard input needs.
    fs::create_dir_all(host.path("dev")).unwrap();
    fs::write(host.path("dev/null"), "").unwrap();
    fs::create_dir_all(host.path("var/lib/flock")).unwrap();
    for file in fs::read_dir(stage.state.path()).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), host.path("var/lib/flock").join(file.file_name())).unwrap();
    }
    fs::set_permissions(host.path("var/lib/flock"), fs::Permissions::from_mode(0o700)).unwrap();

    let mut inside = tokio::process::Command::new("ip");
    inside.args(["netns", "exec", stage.namespace.name(), "setpriv"]);
    inside.args(["--bounding-set=-all,+net_admin,+sys_chroot", "--no-new-privs", "chroot"]);
    inside.arg(host.0.path()).args(command_of(&host.unit()));
    inside.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = patiently(inside.output()).await;
    let Ok(output) = output else { return skipped("needs setpriv") };
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains(&format!("restored {} of node n1", revision("1"))), "{said}");
    assert_eq!(stage.namespace.table(), stage.table);
}

#[tokio::test]
async fn systemd_understands_the_unit() {
    if !has_nft() {
        return;
    }
    let host = Host::new();
    assert_done(&host.install(&[]).await);
    // What units refer to, of this machine's systemd.
    let units = host.path("lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    let Ok(all) = fs::read_dir("/lib/systemd/system") else { return skipped("needs systemd") };
    for unit in all.map(Result::unwrap).map(|unit| unit.path()) {
        let is_needed =
            unit.extension().is_some_and(|kind| kind == "target" || kind == "slice" || kind == "mount");
        if is_needed && unit.is_file() {
            fs::copy(&unit, units.join(unit.file_name().unwrap())).unwrap();
        }
    }
    let root = format!("--root={}", host.0.path().display());
    let verify = Command::new("systemd-analyze").args(["verify", &root, "flock-restore.service"]).output();
    let Ok(output) = verify else { return skipped("needs systemd-analyze") };
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && !said.contains("flock-restore"), "{said}");
    let security = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=25", &root, "flock-restore.service"])
        .output()
        .unwrap();
    assert!(security.status.success(), "{}{}", text(&security.stdout), text(&security.stderr));
}
