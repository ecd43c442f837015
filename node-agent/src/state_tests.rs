//! Tests of the journal on disk.

use flock_proto::Position;
use flock_shared::{Revision, Script, ScriptHash, Superseded};

use super::*;

fn entry(text: &str) -> JournalEntry {
    let name = Revision::of(ScriptHash::of(text.as_bytes()));
    let script = Script::new(format!("flush chain inet flock_netpol ingress_{:.32}\n", name.as_str()));
    let (revision, position) = (Revision::of(script.hash()), Position::new(text.as_bytes()).unwrap());
    let superseded = Superseded::new(vec![revision.clone()]).unwrap();
    JournalEntry { revision, position, superseded, script }
}

fn journal(full: &str, deltas: &[&str]) -> Journal {
    let mut journal = Journal::new(entry(full));
    deltas.iter().for_each(|delta| journal.push(entry(delta)).unwrap());
    journal
}

fn node() -> NodeName {
    NodeName::new("n1").unwrap()
}

fn loaded(dir: &StateDir) -> Option<Journal> {
    dir.load().unwrap().map(|saved| saved.journal)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

fn inode(path: &Path) -> u64 {
    path.metadata().unwrap().ino()
}

#[test]
fn what_was_stored_is_loaded() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    let dir = StateDir::open(&folder, &node()).unwrap();
    assert_eq!(loaded(&dir), None);
    for _ in 0..2 {
        dir.store(&journal("a", &[]), None).unwrap();
        assert_eq!(loaded(&dir), Some(journal("a", &[])));
    }
    assert_eq!((mode(&folder), mode(&folder.join(FILE))), (0o700, 0o600));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn deltas_are_added_and_a_full_script_replaces_them() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path(), &node()).unwrap();
    let mut saved = dir.store(&journal("a", &[]), None).unwrap();
    let full = inode(&folder.path().join(FILE));
    for deltas in [&["b"][..], &["b", "c"], &["b", "c", "d", "e"], &["b", "c", "d", "e"]] {
        saved = dir.store(&journal("a", deltas), Some(saved)).unwrap();
        assert_eq!(dir.load().unwrap(), Some(saved.clone()));
        assert_eq!(saved.journal, journal("a", deltas));
    }
    assert_eq!(inode(&folder.path().join(FILE)), full, "the full script was written once");
    assert_eq!(mode(&folder.path().join(DELTAS)), 0o600);

    let saved = dir.store(&journal("f", &[]), Some(saved)).unwrap();
    assert_eq!(loaded(&dir), Some(journal("f", &[])), "deltas of another full script do not count");
    dir.store(&journal("f", &["g"]), Some(saved)).unwrap();
    assert_eq!(loaded(&dir), Some(journal("f", &["g"])));
    // What is on disk is not known: everything anew.
    dir.store(&journal("f", &["h", "i"]), None).unwrap();
    assert_eq!(loaded(&dir), Some(journal("f", &["h", "i"])));
}

#[test]
fn a_journal_that_was_loaded_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path(), &node()).unwrap();
    dir.store(&journal("a", &["b"]), None).unwrap();
    let full = inode(&folder.path().join(FILE));
    dir.store(&journal("a", &["b", "c"]), dir.load().unwrap()).unwrap();
    assert_eq!(loaded(&dir), Some(journal("a", &["b", "c"])));
    assert_eq!(inode(&folder.path().join(FILE)), full);
}

#[test]
fn a_torn_end_is_left_out_and_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path(), &node()).unwrap();
    let deltas = folder.path().join(DELTAS);
    let saved = dir.store(&journal("a", &["b"]), None).unwrap();
    let first = std::fs::read(&deltas).unwrap().len();
    dir.store(&journal("a", &["b", "c"]), Some(saved)).unwrap();
    let whole = std::fs::read(&deltas).unwrap();
    for length in [0, 1, first - 1, first, first + 1, whole.len() - 1] {
        std::fs::write(&deltas, &whole[..length]).unwrap();
        let count = usize::from(length >= first);
        let torn = dir.load().unwrap();
        assert_eq!(
            torn.as_ref().map(|saved| saved.journal.clone()),
            Some(journal("a", &["b"][..count])),
            "{length}"
        );
        dir.store(&journal("a", &["b", "d"]), torn).unwrap();
        assert_eq!(loaded(&dir), Some(journal("a", &["b", "d"])), "{length}");
    }
}

#[test]
fn deltas_of_others_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path(), &node()).unwrap();
    dir.store(&journal("a", &["b"]), None).unwrap();
    std::fs::set_permissions(folder.path().join(DELTAS), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(loaded(&dir), Some(journal("a", &[])));

    let other = tempfile::tempdir().unwrap();
    let foreign = StateDir::open(other.path(), &NodeName::new("n2").unwrap()).unwrap();
    foreign.store(&journal("a", &["c"]), None).unwrap();
    std::fs::remove_file(folder.path().join(DELTAS)).unwrap();
    std::fs::copy(other.path().join(DELTAS), folder.path().join(DELTAS)).unwrap();
    assert_eq!(loaded(&dir), Some(journal("a", &[])));
}

#[test]
fn deltas_of_an_older_full_script_are_no_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path(), &node()).unwrap();
    let end = || dir.load().unwrap().unwrap().end;
    let saved = dir.store(&journal("a", &["b", "c"]), None).unwrap();
    dir.store(&journal("d", &[]), Some(saved)).unwrap();
    assert!(folder.path().join(DELTAS).metadata().unwrap().len() > 0, "they are still there");
    assert_eq!((loaded(&dir), end()), (Some(journal("d", &[])), Tail::Clean));
    // They make room for the first delta that follows.
    dir.store(&journal("d", &["e"]), dir.load().unwrap()).unwrap();
    assert_eq!((loaded(&dir), end()), (Some(journal("d", &["e"])), Tail::Clean));

    let whole = std::fs::read(folder.path().join(DELTAS)).unwrap();
    for torn in
        [&whole[..whole.len() - 1], &[&whole[..], b"x"].concat()[..], &[&whole[..], &whole[..]].concat()[..]]
    {
        std::fs::write(folder.path().join(DELTAS), torn).unwrap();
        assert_eq!(end(), Tail::Torn);
    }
}

#[test]
fn a_refused_file_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path(), &node()).unwrap();
    dir.store(&journal("a", &[]), None).unwrap();
    let other = StateDir::open(folder.path(), &NodeName::new("n2").unwrap()).unwrap();
    assert!(matches!(other.load(), Err(StateError::Foreign(owner)) if owner == node()));
    assert!(folder.path().join(REFUSED).exists());
    assert_eq!(other.load().unwrap(), None);
}

#[test]
fn a_script_that_reaches_beyond_its_table_is_not_restored() {
    let evil = |text: &str| JournalEntry { script: Script::new("flush ruleset\n"), ..entry(text) };
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path(), &node()).unwrap();
    dir.store(&Journal::new(evil("a")), None).unwrap();
    assert!(matches!(dir.load(), Err(StateError::Refused(_))));
    assert!(folder.path().join(REFUSED).exists());

    let mut with_delta = journal("a", &["b"]);
    with_delta.push(evil("c")).unwrap();
    dir.store(&with_delta, None).unwrap();
    assert_eq!(loaded(&dir), Some(journal("a", &["b"])));
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path(), &node()).unwrap();
    dir.store(&journal("a", &[]), None).unwrap();
    std::fs::set_permissions(folder.path().join(FILE), Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(dir.load(), Err(StateError::Exposed(_))));
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(StateDir::open(folder.path(), &node()), Err(StateError::Exposed(_))));
}

#[test]
fn all_that_an_agent_left_is_removed() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    assert_eq!(remove(&folder).unwrap(), Vec::<PathBuf>::new());
    assert!(!folder.exists());
    let dir = StateDir::open(&folder, &node()).unwrap();
    dir.store(&journal("a", &["b"]), None).unwrap();
    std::fs::write(folder.join(REFUSED), "").unwrap();
    let files = [FILE, DELTAS, REFUSED].map(|name| folder.join(name));
    assert_eq!(remove(&folder).unwrap(), files);
    assert_eq!((dir.load().unwrap(), remove(&folder).unwrap()), (None, Vec::new()));
}

#[test]
fn a_disk_that_takes_nothing_keeps_the_old_ruleset() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path(), &node()).unwrap();
    let saved = dir.store(&journal("a", &[]), None).unwrap();
    std::fs::create_dir(folder.path().join(TEMPORARY)).unwrap();
    assert!(dir.store(&journal("b", &[]), Some(saved)).is_err());
    assert_eq!(loaded(&dir), Some(journal("a", &[])));
}

/// What somebody has put into the folder while it was open to them leads nowhere.
#[test]
fn nothing_is_written_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    std::fs::write(&other, "somebody's").unwrap();
    let dir = StateDir::open(folder.path(), &node()).unwrap();
    let path = |name: &str| folder.path().join(name);
    type Link = fn(PathBuf, PathBuf) -> io::Result<()>;
    for link in [std::os::unix::fs::symlink as Link, std::fs::hard_link as Link] {
        for name in [TEMPORARY, DELTAS] {
            let _ = remove_file(path(name));
            link(other.clone(), path(name)).unwrap();
        }
        let saved = dir.store(&journal("a", &["b"]), None).unwrap();
        assert_eq!(loaded(&dir), Some(journal("a", &["b"])));
        // The same while it is added to.
        remove_file(path(DELTAS)).unwrap();
        link(other.clone(), path(DELTAS)).unwrap();
        assert!(dir.store(&journal("a", &["b", "c"]), Some(saved)).is_err());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "somebody's");
        assert_ne!(mode(&other), 0o600);
    }
    remove_file(path(FILE)).unwrap();
    std::os::unix::fs::symlink(&other, path(FILE)).unwrap();
    assert!(dir.load().is_err(), "nor read through one");
}

#[test]
fn agents_share_a_folder_and_nobody_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let claim = |share| claim(folder.path(), share).unwrap();
    let (one, other) = (claim(Share::WithAgents), claim(Share::WithAgents));
    assert!(one.is_some() && other.is_some() && claim(Share::Alone).is_none());
    drop((one, other));
    let alone = claim(Share::Alone);
    assert!(alone.is_some() && claim(Share::WithAgents).is_none() && claim(Share::Alone).is_none());
    drop(alone);
    assert!(claim(Share::WithAgents).is_some());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing");
}
