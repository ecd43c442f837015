//! Installing the CNI plugin, as a process: folders of a runtime, and others who write to them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The longest that anything here may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const LIST: &str = "{\n  \"zeta\": 1.50,\n  \"name\": \"cbr0\",\n  \"cniVersion\": \"0.3.1\",\n  \"plugins\": [\n    {\n      \"type\": \"flannel\"\n    }\n  ]\n}\n";
const OWN: &str =
    r#"{"type": "flock-cni", "socket": "/run/flock/cni.sock", "timeoutMs": 2000, "onTimeout": "continue"}"#;

/// A node's folders, and the binary to install.
struct Node {
    _root: TempDir,
    bin: PathBuf,
    conf: PathBuf,
    binary: PathBuf,
}

impl Node {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let [bin, conf] = ["bin", "net.d"].map(|name| root.path().join(name));
        fs::create_dir(&bin).unwrap();
        fs::create_dir(&conf).unwrap();
        let binary = root.path().join("plugin");
        fs::write(&binary, "a plugin").unwrap();
        Self { _root: root, bin, conf, binary }
    }

    fn with(name: &str, text: &str) -> Self {
        let node = Self::new();
        node.write(name, text);
        node
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.conf.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.conf.join(name)).unwrap_or_default()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.conf).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flock-node-agent"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOCK_"))
        {
            command.env_remove(name);
        }
        command.args(arguments).arg("--conf-dir").arg(&self.conf).arg("--bin-dir").arg(&self.bin);
        if arguments[0] == "install-cni" {
            command.arg("--binary").arg(&self.binary);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn install(&self) {
        let output = self.run(&["install-cni", "--once"]);
        assert!(output.status.success(), "{}", said(&output));
    }

    fn keep(&self, arguments: &[&str]) -> Keeper {
        let log = self.conf.with_file_name("log");
        let file = fs::File::create(&log).unwrap();
        let arguments = [&["install-cni"], arguments].concat();
        Keeper { child: self.command(&arguments).stderr(file).spawn().unwrap(), log }
    }

    fn waits_for_own(&self, name: &str) {
        wait(&format!("the plugin in {name}"), || self.read(name).contains(OWN));
    }
}

/// A process that keeps the plugin installed.
struct Keeper {
    child: Child,
    log: PathBuf,
}

impl Keeper {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// SIGTERM, and what it has logged.
    fn end(mut self) -> String {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
        self.log()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn installing_twice_changes_nothing_and_taking_out_leaves_what_was_there() {
    let node = Node::with("10-flannel.conflist", LIST);
    let path = node.conf.join("10-flannel.conflist");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // Without root, a file is this user's and nobody else's.
    let is_given = std::os::unix::fs::chown(&path, Some(4711), Some(815)).is_ok();
    node.install();
    let installed = node.read("10-flannel.conflist");
    assert_eq!(installed, LIST.replace("    }\n  ]", &format!("    }},\n    {OWN}\n  ]")));
    let metadata = path.metadata().unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o640);
    assert!(!is_given || (metadata.uid(), metadata.gid()) == (4711, 815));
    let binary = node.bin.join("flock-cni");
    assert_eq!(
        (fs::read(&binary).unwrap(), binary.metadata().unwrap().mode() & 0o7777),
        (b"a plugin".to_vec(), 0o755)
    );

    let places = || [&path, &binary].map(|path| path.metadata().unwrap().ino());
    let before = places();
    node.install();
    assert_eq!((node.read("10-flannel.conflist"), places()), (installed, before));

    let output = node.run(&["uninstall-cni"]);
    assert!(output.status.success() && said(&output).contains("left its binary"), "{}", said(&output));
    assert_eq!((node.read("10-flannel.conflist").as_str(), binary.exists()), (LIST, true));
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
    let output = node.run(&["uninstall-cni", "--remove-binary"]);
    assert!(
        output.status.success() && said(&output).contains("part of no configuration"),
        "{}",
        said(&output)
    );
    assert!(!binary.exists());
    assert_eq!(node.run(&["uninstall-cni", "--remove-binary"]).status.code(), Some(0), "with nothing there");
    assert_eq!(node.names(), ["10-flannel.conflist"]);
}

#[test]
fn every_option_has_a_variable() {
    let node = Node::with("20-b.conflist", LIST);
    node.write("10-a.conflist", &LIST.replace("cbr0", "other"));
    let mut command = node.command(&["install-cni"]);
    let variables = [
        ("FLOCK_CNI_ONCE", "true"),
        ("FLOCK_CNI_NETWORK", "cbr0"),
        ("FLOCK_CNI_SOCKET", "/a/s"),
        ("FLOCK_CNI_TIMEOUT_MS", "70"),
        ("FLOCK_CNI_ON_TIMEOUT", "fail"),
        ("FLOCK_CNI_PLUGIN_LOG", "/var/log/flock-cni"),
        ("FLOCK_LOG", "warn"),
    ];
    let output = command.envs(variables).output().unwrap();
    assert_eq!(said(&output), "");
    let own = r#"{"type": "flock-cni", "socket": "/a/s", "timeoutMs": 70, "onTimeout": "fail", "log": "/var/log/flock-cni"}"#;
    assert!(node.read("20-b.conflist").contains(own), "{}", node.read("20-b.conflist"));
    assert!(!node.read("10-a.conflist").contains("flock"));

    let mut bare = Command::new(env!("CARGO_BIN_EXE_flock-node-agent"));
    bare.env_clear()
        .arg("install-cni")
        .env("FLOCK_CNI_ONCE", "true")
        .env("FLOCK_CNI_CONF_FILE", "10-a.conflist");
    bare.env("FLOCK_CNI_BIN_DIR", &node.bin).env("FLOCK_CNI_CONF_DIR", &node.conf);
    let output = bare.env("FLOCK_CNI_BINARY", &node.binary).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(node.read("10-a.conflist").contains(OWN) && !node.read("20-b.conflist").contains("flock"));

    let mut taken = Command::new(env!("CARGO_BIN_EXE_flock-node-agent"));
    taken.env_clear().arg("uninstall-cni").env("FLOCK_CNI_REMOVE_BINARY", "true");
    taken.env("FLOCK_CNI_BIN_DIR", &node.bin).env("FLOCK_CNI_CONF_DIR", &node.conf);
    assert!(taken.output().unwrap().status.success());
    assert!(!node.read("10-a.conflist").contains("flock") && !node.bin.join("flock-cni").exists());
}

#[test]
fn wrong_options_are_exit_2_and_a_message() {
    let node = Node::with("10-a.conflist", LIST);
    for (option, value) in [
        ("--socket", "relative"),
        ("--timeout-ms", "0"),
        ("--timeout-ms", "60001"),
        ("--on-timeout", "stop"),
        ("--plugin-log", "relative"),
        ("--conf-file", "a/b"),
    ] {
        let output = node.run(&["install-cni", "--once", option, value]);
        assert_eq!(output.status.code(), Some(2), "{option} {value}");
        assert!(said(&output).contains(option), "{}", said(&output));
    }
    for other in ["--uninstall-on-exit", "--absent"] {
        assert_eq!(node.run(&["install-cni", "--once", other]).status.code(), Some(2), "{other}");
    }
    assert_eq!(node.read("10-a.conflist"), LIST);
}

#[test]
fn once_fails_where_there_is_nothing_to_be_part_of() {
    let node = Node::new();
    let output = node.run(&["install-cni", "--once"]);
    assert!(
        output.status.code() == Some(1) && said(&output).contains("no configuration in"),
        "{}",
        said(&output)
    );
    node.write("10-a.conflist", "{");
    let output = node.run(&["install-cni", "--once"]);
    assert!(output.status.code() == Some(1) && said(&output).contains("10-a.conflist"), "{}", said(&output));
    assert_eq!(node.read("10-a.conflist"), "{");
    // One behind it does, and what is wrong is told; a byte order mark is no JSON to a runtime, either.
    node.write("10-a.conflist", &format!("\u{feff}{LIST}"));
    node.write("20-b.conflist", LIST);
    let output = node.run(&["install-cni", "--once"]);
    assert!(
        output.status.success() && said(&output).contains("a configuration is left alone"),
        "{}",
        said(&output)
    );
    assert_eq!(node.read("10-a.conflist"), format!("\u{feff}{LIST}"));
    assert!(node.read("20-b.conflist").contains(OWN));
    fs::remove_dir_all(&node.conf).unwrap();
    assert_eq!(node.run(&["install-cni", "--once"]).status.code(), Some(1));
}

#[test]
fn a_list_never_names_a_binary_that_is_not_there() {
    let node = Node::with("10-a.conflist", LIST);
    node.install();
    let keeper = node.keep(&[]);
    // The host's folder is made anew, and then there is nothing to copy.
    fs::remove_file(node.bin.join("flock-cni")).unwrap();
    wait("the binary", || node.bin.join("flock-cni").exists());
    assert!(node.read("10-a.conflist").contains(OWN));
    fs::remove_file(&node.binary).unwrap();
    fs::remove_file(node.bin.join("flock-cni")).unwrap();
    wait("a list without the plugin", || node.read("10-a.conflist") == LIST);
    wait("a word of it", || keeper.log().contains("could not be installed"));
    fs::write(&node.binary, "another plugin").unwrap();
    node.waits_for_own("10-a.conflist");
    assert_eq!(fs::read(node.bin.join("flock-cni")).unwrap(), b"another plugin");
    keeper.end();
}

#[test]
fn a_folder_of_binaries_that_is_a_link_may_move() {
    let mut node = Node::with("10-a.conflist", LIST);
    let root = node.bin.parent().unwrap().to_owned();
    let current = root.join("current");
    symlink(&node.bin, &current).unwrap();
    node.bin.clone_from(&current);
    let keeper = node.keep(&[]);
    node.waits_for_own("10-a.conflist");
    fs::create_dir(root.join("next")).unwrap();
    symlink(root.join("next"), root.join("new")).unwrap();
    fs::rename(root.join("new"), &current).unwrap();
    wait("the binary in the new folder", || root.join("next/flock-cni").exists());
    keeper.end();
}

#[test]
fn it_stays_when_others_write_and_there_is_no_fight() {
    let node = Node::with("10-a.conflist", LIST);
    let keeper = node.keep(&[]);
    node.waits_for_own("10-a.conflist");
    for other in ["a", "b"] {
        node.write("10-a.conflist", &LIST.replace("cbr0", other));
        node.waits_for_own("10-a.conflist");
        assert!(node.read("10-a.conflist").contains(&format!("\"name\": \"{other}\"")));
    }
    assert!(!keeper.log().contains("keeps rewriting"), "{}", keeper.log());
    node.write("10-a.conflist", LIST);
    wait("a word of it", || keeper.log().contains("keeps rewriting"));
    node.write("10-a.conflist", LIST);
    // Some looks long.
    sleep(Duration::from_secs(1));
    assert_eq!(node.read("10-a.conflist"), LIST);
    let log = keeper.end();
    assert!(log.contains("the plugin stays in the configuration"), "{log}");
    assert_eq!(node.names(), ["10-a.conflist"]);
}

#[test]
fn what_would_stop_pods_is_not_left_for_the_sake_of_peace() {
    let node = Node::with("10-a.conflist", LIST);
    node.install();
    let keeper = node.keep(&[]);
    for other in ["a", "b", "c", "d"] {
        node.waits_for_own("10-a.conflist");
        node.write("10-a.conflist", &LIST.replace("cbr0", other));
    }
    node.waits_for_own("10-a.conflist");
    wait("a word of it", || keeper.log().contains("keeps rewriting"));
    // The list has the plugin in that pause, and there is no binary any more.
    fs::remove_file(&node.binary).unwrap();
    fs::remove_file(node.bin.join("flock-cni")).unwrap();
    wait("a list without the plugin", || node.read("10-a.conflist") == LIST.replace("cbr0", "d"));
    keeper.end();
}

#[test]
fn a_list_that_was_made_is_never_older_than_what_it_was_made_from() {
    let single = |mtu: u32| format!(r#"{{"cniVersion":"1.0.0","name":"b","type":"ptp","mtu":{mtu}}}"#);
    let node = Node::with("05-b.conf", &single(0));
    let keeper = node.keep(&[]);
    for mtu in 1..=3 {
        node.waits_for_own("05-b-flock.conflist");
        node.write("05-b.conf", &single(mtu));
        wait("the change in it", || node.read("05-b-flock.conflist").contains(&format!("\"mtu\":{mtu}")));
    }
    wait("a word of it", || keeper.log().contains("keeps rewriting"));
    node.write("05-b.conf", &single(4));
    wait("the runtime to take the file itself", || node.names() == ["05-b.conf"]);
    keeper.end();
}

#[test]
fn a_probe_tells_and_changes_nothing() {
    let node = Node::with("10-a.conflist", LIST);
    let probe = |arguments: &[&str], variables: &[(&str, &str)]| {
        let arguments = [&["install-cni", "--probe"], arguments].concat();
        let output = node.command(&arguments).envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), said(&output))
    };
    let (code, words) = probe(&[], &[]);
    assert!(code == Some(1) && words.contains("flock-cni: no plugin that can be run"), "{words}");
    assert_eq!((node.read("10-a.conflist").as_str(), node.bin.join("flock-cni").exists()), (LIST, false));
    assert_eq!(probe(&["--absent"], &[]).0, Some(0), "it is not there");

    node.install();
    let installed = node.read("10-a.conflist");
    assert_eq!(probe(&[], &[]), (Some(0), String::new()));
    let (code, words) = probe(&["--timeout-ms", "70"], &[]);
    assert!(code == Some(1) && words.contains("10-a.conflist"), "{words}");
    assert_eq!(probe(&[], &[("FLOCK_CNI_ABSENT", "true")]).0, Some(1), "kept out by its variable, and there");
    assert_eq!(node.read("10-a.conflist"), installed);

    // Nobody writes there: a file system that is only read, a folder that the runtime does not look into.
    node.write("10-a.conflist", LIST);
    assert_eq!(probe(&[], &[]).0, Some(1));
    fs::remove_file(node.conf.join("10-a.conflist")).unwrap();
    let (code, words) = probe(&[], &[]);
    assert!(code == Some(1) && words.contains("no configuration in"), "{words}");
    assert!(node.names().is_empty());
}

#[test]
fn there_is_no_fight_over_the_binary() {
    let node = Node::with("10-a.conflist", LIST);
    let keeper = node.keep(&[]);
    node.waits_for_own("10-a.conflist");
    let binary = node.bin.join("flock-cni");
    let put = || {
        let beside = node.bin.join("other");
        fs::write(&beside, "of another version").unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(beside, &binary).unwrap();
    };
    for _ in 0..3 {
        put();
        wait("the own binary", || fs::read(&binary).unwrap() == b"a plugin");
    }
    wait("a word of it", || keeper.log().contains("keeps putting another binary"));
    put();
    // Some looks long.
    sleep(Duration::from_secs(1));
    assert_eq!(fs::read(&binary).unwrap(), b"of another version");
    assert!(node.read("10-a.conflist").contains(OWN), "it can be run");
    // One that cannot be run is none.
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o644)).unwrap();
    wait("the own binary", || fs::read(&binary).unwrap() == b"a plugin");
    fs::remove_file(&binary).unwrap();
    wait("the own binary", || binary.exists());
    keeper.end();
}

#[test]
fn taking_out_what_somebody_keeps_there_fails() {
    let node = Node::with("10-a.conflist", LIST);
    let keeper = node.keep(&[]);
    node.waits_for_own("10-a.conflist");
    let output = node.run(&["uninstall-cni", "--remove-binary"]);
    assert!(
        output.status.code() == Some(1) && said(&output).contains("install-cni still runs"),
        "{}",
        said(&output)
    );
    assert!(node.bin.join("flock-cni").exists(), "a list names it");
    keeper.end();
    assert_eq!(node.run(&["uninstall-cni", "--remove-binary"]).status.code(), Some(0));
    assert_eq!((node.read("10-a.conflist").as_str(), node.bin.join("flock-cni").exists()), (LIST, false));
}

#[test]
fn a_configuration_may_come_later_and_another_in_front() {
    let node = Node::new();
    let keeper = node.keep(&["--uninstall-on-exit"]);
    wait("a word of it", || keeper.log().contains("no configuration in"));
    // Written in parts, as others do.
    node.write("10-a.conflist", &LIST[..40]);
    sleep(Duration::from_millis(300));
    node.write("10-a.conflist", LIST);
    node.waits_for_own("10-a.conflist");
    node.write("05-b.conf", r#"{"cniVersion":"1.0.0","name":"b","type":"ptp"}"#);
    node.waits_for_own("05-b-flock.conflist");
    wait("the other without it", || node.read("10-a.conflist") == LIST);
    fs::remove_file(node.conf.join("05-b.conf")).unwrap();
    node.waits_for_own("10-a.conflist");
    wait("what was made from it to go", || node.names() == ["10-a.conflist"]);
    let log = keeper.end();
    assert!(log.contains("the plugin leaves the configuration"), "{log}");
    assert_eq!((node.read("10-a.conflist").as_str(), node.names().len()), (LIST, 1));
}

#[test]
fn what_is_no_json_is_left_alone_and_told_once() {
    let node = Node::with("10-a.conflist", "{ \"name\": ");
    let keeper = node.keep(&[]);
    wait("a word of it", || keeper.log().contains("a configuration is left alone"));
    sleep(Duration::from_millis(600));
    assert_eq!(node.read("10-a.conflist"), "{ \"name\": ");
    let log = keeper.end();
    assert_eq!(log.matches("a configuration is left alone").count(), 1, "{log}");
}

#[test]
fn a_link_is_not_written_through() {
    let node = Node::new();
    let target = node.conf.with_file_name("somebody-elses");
    fs::write(&target, LIST).unwrap();
    symlink(&target, node.conf.join("10-a.conflist")).unwrap();
    // Nobody waits for what is no file.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        node.conf.join("20-pipe.conflist"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    node.install();
    assert_eq!(fs::read_to_string(&target).unwrap(), LIST);
    assert!(node.read("10-a-flock.conflist").contains(OWN));
    assert_eq!(node.conf.join("10-a-flock.conflist").metadata().unwrap().mode() & 0o7777, 0o600);
    assert!(node.run(&["uninstall-cni"]).status.success());
    assert_eq!(node.names(), ["10-a.conflist", "20-pipe.conflist"]);
}
