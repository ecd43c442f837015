//! Which file of a folder the runtime takes, and what is to be done so that the plugin is part of it: names and texts in,
//! edits out.
//!
//! containerd takes the first by name of all that end in `.conflist`, `.conf` or `.json`; CRI-O the first of them that can
//! be read. A list is edited. A single plugin's configuration cannot hold another plugin, and a link leads to a file that
//! may be anybody's: those stay as they are, and a list that is made from them is put in front, which goes as soon as what
//! it was made from goes, and changes with it.

use std::collections::BTreeMap;

use super::entry::PluginEntry;
use super::list::{self, List, Unusable};

/// What the name of a list that was made ends in. A dash comes before a dot, so `10-x-flock.conflist` is in front of
/// `10-x.conf` and `10-x.conflist`, and behind all that is in front of those.
const MADE: &str = "-flock.conflist";

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub text: String,
    /// What it is.
    pub kind: Kind,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file of this folder.
    Plain,
    /// A link to a file.
    Link,
}

/// Which of them is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The first, as runtimes choose unless they are told otherwise.
    First,
    /// The file of this name.
    File(String),
    /// The first of the network of this name.
    Network(String),
}

/// What is to be done with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It is to have this text.
    Write(String),
    /// It is to go.
    Remove,
}

/// What is to be done, and what cannot be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// By the name of the file.
    pub edits: BTreeMap<String, Edit>,
    /// Files in front of or instead of the one that is used, and why they are left alone.
    pub unusable: BTreeMap<String, Unusable>,
    /// The file of which the plugin is a part, or will be.
    pub chosen: Option<String>,
}

/// Returns true if a runtime reads a file of this name.
#[must_use]
pub fn is_configuration(name: &str) -> bool {
    is_list(name) || name.ends_with(".conf") || name.ends_with(".json")
}

fn is_list(name: &str) -> bool {
    name.ends_with(".conflist")
}

/// The name of the list that is made from a file.
fn made_from(name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    format!("{stem}{MADE}")
}

/// Returns true if a list of this name was made from another file, and goes with it.
#[must_use]
pub fn is_made(name: &str) -> bool {
    name.ends_with(MADE)
}

/// What is to be done so that the plugin is part of what the runtime takes, and of nothing else.
#[must_use]
pub fn with_plugin(files: &BTreeMap<String, File>, choice: &Choice, entry: &PluginEntry) -> Edits {
    let mut edits = Edits::default();
    let mut made = None;
    for (name, file) in files.iter().filter(|(name, _)| !is_made(name)) {
        match chosen(name, file, choice) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(error) => {
                edits.unusable.insert(name.clone(), error);
                continue;
            }
        }
        match placement(name, file, entry) {
            Ok(Placement::Here(text)) => {
                edits.edits.extend(text.map(|text| (name.clone(), Edit::Write(text))));
                edits.chosen = Some(name.clone());
            }
            Ok(Placement::InFront(text)) => {
                let front = made_from(name);
                if files.get(&front).is_none_or(|file| file.text != text) {
                    edits.edits.insert(front.clone(), Edit::Write(text));
                }
                edits.chosen = Some(front.clone());
                made = Some(front);
            }
            Err(error) => {
                // Which file such a list delegates to is not known here: to take the next one would be a guess.
                let is_last = matches!(error, Unusable::Delegating(_));
                edits.unusable.insert(name.clone(), error);
                if is_last {
                    break;
                }
                continue;
            }
        }
        break;
    }
    for (name, file) in files {
        if edits.chosen.as_ref() != Some(name) && made.as_ref() != Some(name) {
            edits.edits.extend(bare(name, file).map(|edit| (name.clone(), edit)));
        }
    }
    edits
}

/// What is to be done so that the plugin is part of nothing.
#[must_use]
pub fn without_plugin(files: &BTreeMap<String, File>) -> BTreeMap<String, Edit> {
    files.iter().filter_map(|(name, file)| Some((name.clone(), bare(name, file)?))).collect()
}

/// How a file comes to have nothing of the plugin; nothing is to be done where it has nothing, or cannot be read.
fn bare(name: &str, file: &File) -> Option<Edit> {
    if is_made(name) {
        return Some(Edit::Remove);
    }
    // The plugin is written into neither: a list that is made from them stands in front.
    if !is_list(name) || file.kind == Kind::Link {
        return None;
    }
    List::read(&file.text).ok()?.without().map(Edit::Write)
}

/// Returns true if it is the file that is meant.
fn chosen(name: &str, file: &File, choice: &Choice) -> Result<bool, Unusable> {
    match choice {
        Choice::First => Ok(true),
        Choice::File(wanted) => Ok(name == wanted),
        Choice::Network(wanted) => {
            let network = if is_list(name) {
                List::read(&file.text).map(|list| list.name)
            } else {
                list::name_of_single(&file.text)
            };
            network.map(|network| network == *wanted)
        }
    }
}

enum Placement {
    /// The text that the file is to have, where it has another.
    Here(Option<String>),
    /// The text of a list in front of it.
    InFront(String),
}

fn placement(name: &str, file: &File, entry: &PluginEntry) -> Result<Placement, Unusable> {
    if !is_list(name) {
        return list::of_single(&file.text, entry).map(Placement::InFront);
    }
    let edited = List::read(&file.text)?.with(entry)?;
    Ok(match (file.kind, edited) {
        (Kind::Plain, edited) => Placement::Here(edited),
        (Kind::Link, Some(edited)) => Placement::InFront(edited),
        (Kind::Link, None) => Placement::Here(None),
    })
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::entry;
    use super::*;

    fn list(name: &str) -> String {
        format!(r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"ptp"}}]}}"#)
    }

    fn single(name: &str) -> String {
        format!(r#"{{"cniVersion":"1.0.0","name":"{name}","type":"ptp"}}"#)
    }

    fn files(all: &[(&str, &str)]) -> BTreeMap<String, File> {
        let file = |text: &str| File { text: text.to_owned(), kind: Kind::Plain };
        all.iter().map(|(name, text)| ((*name).to_owned(), file(text))).collect()
    }

    fn apply(files: &mut BTreeMap<String, File>, edits: BTreeMap<String, Edit>) {
        for (name, edit) in edits {
            match edit {
                Edit::Write(text) => files.insert(name, File { text, kind: Kind::Plain }),
                Edit::Remove => files.remove(&name),
            };
        }
    }

    /// Which files have the plugin once what is to be done is done, after which there is nothing more to do.
    fn installed(files: &mut BTreeMap<String, File>, choice: &Choice) -> Vec<String> {
        apply(files, with_plugin(files, choice, &entry()).edits);
        assert_eq!(with_plugin(files, choice, &entry()).edits, BTreeMap::new(), "a second time");
        let has = |file: &&File| file.text.contains("flock-cni");
        files.iter().filter(|(_, file)| has(file)).map(|(name, _)| name.clone()).collect()
    }

    #[test]
    fn the_first_by_name_is_taken() {
        let mut all = files(&[
            ("10-b.conflist", &list("b")),
            ("05-a.conflist", &list("a")),
            ("20-c.conf", &single("c")),
        ]);
        let before = all.clone();
        assert_eq!(installed(&mut all, &Choice::First), ["05-a.conflist"]);
        let edits = without_plugin(&all);
        apply(&mut all, edits);
        assert_eq!(all, before);
    }

    #[test]
    fn a_single_plugin_stays_and_a_list_comes_in_front() {
        for name in ["10-a.conf", "10-a.json"] {
            let mut all = files(&[(name, &single("a")), ("20-b.conflist", &list("b"))]);
            let before = all.clone();
            assert_eq!(installed(&mut all, &Choice::First), ["10-a-flock.conflist"]);
            assert_eq!(all.keys().next().unwrap(), "10-a-flock.conflist", "what the runtime takes");
            assert_eq!(all[name], before[name]);
            // It changes with what it was made from, and goes with it.
            all.get_mut(name).unwrap().text = single("z");
            installed(&mut all, &Choice::First);
            assert!(all["10-a-flock.conflist"].text.contains(r#""name": "z""#));
            all.remove(name);
            assert_eq!(installed(&mut all, &Choice::First), ["20-b.conflist"]);
            assert!(!all.contains_key("10-a-flock.conflist"));
        }
    }

    #[test]
    fn a_link_stays_and_a_list_comes_in_front() {
        let mut all = files(&[("10-a.conflist", &list("a"))]);
        all.get_mut("10-a.conflist").unwrap().kind = Kind::Link;
        let before = all.clone();
        assert_eq!(installed(&mut all, &Choice::First), ["10-a-flock.conflist"]);
        let edits = without_plugin(&all);
        apply(&mut all, edits);
        assert_eq!(all, before);
    }

    #[test]
    fn another_that_comes_in_front_takes_the_plugin_over() {
        let mut all = files(&[("10-a.conflist", &list("a"))]);
        installed(&mut all, &Choice::First);
        all.extend(files(&[("00-x.conflist", &list("x"))]));
        assert_eq!(installed(&mut all, &Choice::First), ["00-x.conflist"]);
        assert_eq!(all["10-a.conflist"].text, list("a"));
    }

    #[test]
    fn the_runtime_may_be_told_which() {
        let mut all = files(&[
            ("05-a.conflist", &list("a")),
            ("10-b.conflist", &list("b")),
            ("20-c.conf", &single("c")),
        ]);
        assert_eq!(installed(&mut all, &Choice::Network("b".to_owned())), ["10-b.conflist"]);
        assert_eq!(installed(&mut all, &Choice::Network("c".to_owned())), ["20-c-flock.conflist"]);
        assert_eq!(installed(&mut all, &Choice::File("05-a.conflist".to_owned())), ["05-a.conflist"]);
        assert_eq!(installed(&mut all, &Choice::File("none".to_owned())), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_read_is_left_alone_and_told() {
        let mut all =
            files(&[("05-a.conflist", "{"), ("06-a.conf", &list("a")), ("10-b.conflist", &list("b"))]);
        let edits = with_plugin(&all, &Choice::First, &entry());
        let told: Vec<_> = edits.unusable.keys().map(String::as_str).collect();
        // CRI-O goes on to the next that can be read; for containerd it makes no difference.
        assert_eq!(
            (told, edits.chosen.as_deref()),
            (vec!["05-a.conflist", "06-a.conf"], Some("10-b.conflist"))
        );
        assert_eq!(installed(&mut all, &Choice::First), ["10-b.conflist"]);
        assert_eq!(all["05-a.conflist"].text, "{");
        let nothing = with_plugin(&files(&[]), &Choice::First, &entry());
        assert_eq!(nothing, Edits::default());
    }

    #[test]
    fn a_plugin_that_delegates_is_told_and_nothing_behind_it_taken() {
        let multus = r#"{"cniVersion":"1.0.0","name":"m","type":"multus"}"#;
        let mut all = files(&[("00-multus.conf", multus), ("10-b.conflist", &list("b"))]);
        let edits = with_plugin(&all, &Choice::First, &entry());
        assert_eq!((edits.edits.len(), edits.unusable.len(), edits.chosen), (0, 1, None));
        assert_eq!(installed(&mut all, &Choice::File("10-b.conflist".to_owned())), ["10-b.conflist"]);
    }

    #[test]
    fn runtimes_read_three_kinds() {
        for (name, expected) in [
            ("10-a.conflist", true),
            ("10-a.conf", true),
            ("a.json", true),
            ("10-a.conflist.bak", false),
            (".10-a.conflist.flock-new", false),
            ("calico-kubeconfig", false),
        ] {
            assert_eq!(is_configuration(name), expected, "{name}");
        }
        assert!(made_from("10-a.conf").as_str() < "10-a.conf" && made_from("10-a.conf").as_str() > "10-a");
    }
}
