//! Manifests followed as they change on disk.

use flock_compiler_core::{Change, Edit};
use flock_convert::HostInterfaces;

use super::ManifestsSource;
use super::follow::Follower;
use crate::source::{Source, SourceError, SourceEvent};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n";
const POLICY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {podSelector: {}}\n";

/// A followed directory.
struct Followed {
    dir: tempfile::TempDir,
    follower: Follower,
}

impl Followed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let follower = Follower::new(dir.path().to_owned(), HostInterfaces::None);
        Self { dir, follower }
    }

    fn write(&self, name: &str, text: &str) {
        let hidden = self.dir.path().join(".new");
        std::fs::write(&hidden, text).unwrap();
        std::fs::rename(hidden, self.dir.path().join(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join(name)).unwrap();
    }

    /// What two looks at the directory say, a line each; the directory's path left out.
    fn poll(&mut self) -> Vec<String> {
        let mut events = self.follower.poll().unwrap();
        events.extend(self.follower.poll().unwrap());
        let prefix = self.dir.path().to_string_lossy().into_owned();
        events
            .iter()
            .flat_map(apart)
            .map(|event| line(&event).replace(&format!("{prefix}/"), "").replace(&prefix, "DIR"))
            .collect()
    }
}

/// Changes one by one.
fn apart(event: &SourceEvent) -> Vec<SourceEvent> {
    match event {
        SourceEvent::Changes { changes, progress: None, .. } => {
            changes.iter().cloned().map(Into::into).collect()
        }
        SourceEvent::Changes { .. } => panic!("manifests have no versions: {event:?}"),
        SourceEvent::Report { .. } => vec![event.clone()],
    }
}

fn line(event: &SourceEvent) -> String {
    fn edit<T: flock_compiler_core::change::Object>(kind: &str, edit: &Edit<T>) -> String {
        match edit {
            Edit::Upsert(object) => format!("+ {kind} {:?}", object.key()),
            Edit::Delete(key) => format!("- {kind} {key:?}"),
            Edit::Replace(objects) => format!("= {} {kind}", objects.len()),
        }
    }
    let change = |change: &Change| match change {
        Change::Node(change) => edit("Node", change),
        Change::Namespace(change) => edit("Namespace", change),
        Change::Pod(change) => edit("Pod", change),
        Change::Policy(change) => edit("NetworkPolicy", change),
        Change::NodePods(change) => edit("NodePods", change),
        Change::Facts(change) => edit("Facts", change),
        Change::Overdue(change) => edit("Overdue", change),
    };
    match event {
        SourceEvent::Changes { changes, .. } => changes.iter().map(change).collect(),
        SourceEvent::Report { input, problems } if problems.is_empty() => format!("mended {input}"),
        SourceEvent::Report { problems, .. } => {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
    }
}

const KEPT: &str = "(the last good objects stay in force)";
const NO_MANIFESTS: &str = "DIR: has no *.yaml, *.yml or *.json files (the last good objects stay in force)";

#[test]
fn listings_come_first_and_then_only_what_changed() {
    let mut followed = Followed::new();
    followed.write("pods.yaml", POD);
    followed.write("policies.yaml", POLICY);
    assert_eq!(
        followed.poll(),
        ["= 0 Node", "= 1 Namespace", "= 1 Pod", "= 1 NetworkPolicy", "= 0 NodePods"]
    );
    assert_eq!(followed.poll(), [""; 0]);
    followed.write("pods.yaml", &format!("{POD}---\n{}", POD.replace("web", "api")));
    assert_eq!(followed.poll(), ["+ Pod shop/api"]);
    followed.write("policies.yaml", &format!("{POLICY}---\n{}", POLICY.replace("shop", "bank")));
    assert_eq!(followed.poll(), ["+ NetworkPolicy bank/deny", "+ Namespace \"bank\""]);
    followed.write("policies.yaml", &POLICY.replace("{}}", "{matchLabels: {a: b}}}"));
    assert_eq!(
        followed.poll(),
        ["+ NetworkPolicy shop/deny", "- Namespace \"bank\"", "- NetworkPolicy bank/deny"]
    );
    followed.remove("pods.yaml");
    assert_eq!(followed.poll(), ["- Pod shop/api", "- Pod shop/web"]);
}

#[test]
fn nothing_is_sent_before_every_file_was_good_once() {
    let mut followed = Followed::new();
    assert_eq!(followed.poll(), [NO_MANIFESTS]);
    followed.write("a.yaml", POD);
    followed.write("b.yaml", "kind: [");
    let reported = followed.poll();
    assert_eq!(reported.len(), 2);
    assert_eq!(reported[0], "mended DIR");
    assert!(reported[1].starts_with("b.yaml: line 1, column 7: "), "{reported:?}");
    assert_eq!(followed.poll(), [""; 0]);
    followed.write("b.yaml", POLICY);
    assert_eq!(
        followed.poll(),
        ["mended b.yaml", "= 0 Node", "= 1 Namespace", "= 1 Pod", "= 1 NetworkPolicy", "= 0 NodePods"]
    );
}

#[test]
fn a_bad_file_keeps_its_last_good_objects() {
    let mut followed = Followed::new();
    followed.write("a.yaml", POD);
    followed.write("b.yaml", POLICY);
    followed.poll();
    followed.write("b.yaml", "");
    followed.write("a.yaml", &POD.replace("web", "api"));
    let empty = "is empty; delete it, or leave a comment in it, if it is to hold no objects";
    assert_eq!(
        followed.poll(),
        [format!("b.yaml: {empty} {KEPT}"), "+ Pod shop/api".into(), "- Pod shop/web".into()]
    );
    followed.write("b.yaml", &POLICY.replace("name: deny", "name: Deny"));
    let name = "\"Deny\" is not a DNS-1123 name: lower case letters, digits, '-' and '.', starting and ending with a letter or digit";
    assert_eq!(followed.poll(), [format!("b.yaml: NetworkPolicy shop/Deny: metadata.name: {name} {KEPT}")]);
    // A new file that is bad has nothing to keep, and does not keep others from changing.
    followed.write("c.yaml", "]");
    assert_eq!(followed.poll().len(), 1);
    followed.write("b.yaml", "# none\n");
    assert_eq!(followed.poll(), ["mended b.yaml", "- NetworkPolicy shop/deny"]);
    followed.remove("c.yaml");
    assert_eq!(followed.poll(), ["mended c.yaml"]);
}

#[test]
fn a_deleted_bad_file_takes_its_objects_with_it() {
    let mut followed = Followed::new();
    followed.write("a.yaml", POD);
    followed.write("b.yaml", "# none\n");
    followed.poll();
    followed.write("a.yaml", "[");
    followed.poll();
    followed.remove("a.yaml");
    assert_eq!(followed.poll(), ["mended a.yaml", "- Pod shop/web", "- Namespace \"shop\""]);
}

#[test]
fn a_directory_that_becomes_empty_keeps_what_was_in_force() {
    let mut followed = Followed::new();
    followed.write("a.yaml", POD);
    followed.write("b.yaml", POLICY);
    followed.poll();
    followed.write("b.yaml", "[");
    assert_eq!(followed.poll().len(), 1);
    let root = followed.dir.path().to_owned();
    let (mounted, empty) = (root.with_extension("mounted"), root.with_extension("empty"));
    std::fs::create_dir(&empty).unwrap();
    std::fs::rename(&root, &mounted).unwrap();
    std::fs::rename(&empty, &root).unwrap();
    assert_eq!(followed.poll(), [NO_MANIFESTS]);
    assert_eq!(followed.poll(), [""; 0]);

    // The same files are back: what is bad among them still keeps its last good objects.
    std::fs::rename(&root, &empty).unwrap();
    std::fs::rename(&mounted, &root).unwrap();
    assert_eq!(followed.poll(), ["mended DIR"]);
    followed.write("b.yaml", POLICY);
    assert_eq!(followed.poll(), ["mended b.yaml"]);

    // What comes back counts as it is then; a file that does not come back counts no more.
    followed.remove("a.yaml");
    followed.remove("b.yaml");
    assert_eq!(followed.poll(), [NO_MANIFESTS]);
    followed.write("a.yaml", &POD.replace("web", "api"));
    assert_eq!(
        followed.poll(),
        ["mended DIR", "+ Pod shop/api", "- Pod shop/web", "- NetworkPolicy shop/deny"]
    );
    std::fs::remove_dir(empty).unwrap();
}

#[test]
fn files_that_contradict_each_other_keep_what_was_in_force() {
    let mut followed = Followed::new();
    followed.write("a.yaml", POLICY);
    followed.write("b.yaml", POD);
    followed.poll();
    let other = POLICY.replace("{}}", "{matchLabels: {a: b}}}");
    followed.write("b.yaml", &format!("{POD}---\n{other}"));
    let message = |file, other| {
        format!("{file}: NetworkPolicy shop/deny: is also in {other}, with different content {KEPT}")
    };
    assert_eq!(followed.poll(), [message("b.yaml", "a.yaml")]);
    followed.write("a.yaml", &other);
    assert_eq!(followed.poll(), ["mended b.yaml", "+ NetworkPolicy shop/deny"]);
    // Moving an object from one file to another is no contradiction.
    followed.write("a.yaml", POD);
    followed.write("b.yaml", POLICY);
    assert_eq!(followed.poll(), ["+ NetworkPolicy shop/deny"]);
}

#[test]
fn contradicting_files_at_the_start_hold_everything() {
    let mut followed = Followed::new();
    followed.write("a.yaml", POLICY);
    followed.write("b.yaml", &POLICY.replace("{}}", "{matchLabels: {a: b}}}"));
    assert_eq!(followed.poll().len(), 2);
    followed.remove("b.yaml");
    assert_eq!(
        followed.poll(),
        [
            "mended a.yaml",
            "mended b.yaml",
            "= 0 Node",
            "= 1 Namespace",
            "= 0 Pod",
            "= 1 NetworkPolicy",
            "= 0 NodePods"
        ]
    );
}

#[test]
fn a_config_map_volume_changes_by_a_swap_of_links() {
    use std::os::unix::fs::symlink;
    let mut followed = Followed::new();
    let root = followed.dir.path().to_owned();
    let version = |name: &str, text: &str| {
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::write(root.join(name).join("a.yaml"), text).unwrap();
        symlink(name, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    version("..1", POD);
    symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    assert_eq!(followed.poll().len(), 5);
    version("..2", &POD.replace("web", "api"));
    std::fs::remove_dir_all(root.join("..1")).unwrap();
    assert_eq!(followed.poll(), ["+ Pod shop/api", "- Pod shop/web"]);
    std::fs::remove_dir_all(root.join("..2")).unwrap();
    assert_eq!(followed.poll(), [format!("a.yaml: is a link that leads nowhere {KEPT}")]);
}

#[test]
fn a_directory_that_vanishes_is_a_problem_until_it_is_back() {
    let mut followed = Followed::new();
    followed.write("a.yaml", POD);
    followed.poll();
    let away = followed.dir.path().with_extension("away");
    std::fs::rename(followed.dir.path(), &away).unwrap();
    assert_eq!(followed.poll(), [format!("DIR: No such file or directory (os error 2) {KEPT}")]);
    std::fs::rename(&away, followed.dir.path()).unwrap();
    assert_eq!(followed.poll(), ["mended DIR"]);
}

#[test]
fn a_file_is_read_once_it_stays_the_same() {
    let mut followed = Followed::new();
    followed.write("a.yaml", POD);
    followed.poll();
    followed.write("a.yaml", "# being written");
    assert_eq!(followed.follower.poll().unwrap(), []);
    followed.write("a.yaml", &format!("{POD}---\n{POLICY}"));
    assert_eq!(followed.follower.poll().unwrap(), []);
    assert_eq!(followed.follower.poll().unwrap().len(), 1);
    // Files that stand still are read even if another one never does.
    followed.write("c.yaml", &POLICY.replace("shop", "bank"));
    let mut events = Vec::new();
    for round in 0..9 {
        followed.write("b.yaml", &format!("# {}\n{}", "x".repeat(round), POLICY.replace("shop", "mall")));
        events.extend(followed.follower.poll().unwrap().iter().flat_map(apart).map(|event| line(&event)));
    }
    assert_eq!(events, ["+ NetworkPolicy bank/deny", "+ Namespace \"bank\""]);
}

#[test]
fn the_source_ends_with_its_receiver_and_tells_what_it_cannot_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), POD).unwrap();
        let (sender, mut events) = tokio::sync::mpsc::channel(16);
        let source =
            tokio::spawn(ManifestsSource::new(dir.path().to_owned(), HostInterfaces::None).run(sender));
        assert!(
            matches!(events.recv().await, Some(SourceEvent::Changes { changes, .. }) if changes.len() == 5)
        );
        drop(events);
        source.await.unwrap().unwrap();

        let (sender, _events) = tokio::sync::mpsc::channel(16);
        let error = ManifestsSource::new(dir.path().join("none"), HostInterfaces::None)
            .run(sender)
            .await
            .unwrap_err();
        assert!(matches!(error, SourceError::Unreadable { .. }));
    });
}
