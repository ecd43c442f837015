//! A script as nft is given it: its steps, and for a full script the two passes that keep a node judged meanwhile.
//!
//! A large table cannot be replaced in one transaction (see [`flock_shared::steps`]), and what was filled under one
//! table's name cannot be moved to another's. So where something stands, a full script of several steps is run twice:
//!
//! ```text
//!            table            its stand-in (TABLE_next)
//!            the old one
//! 1st pass   the old one      filled step by step
//!            goes       ◀one▶ judges                        the last step of the pass
//! 2nd pass   filled           judges: it is the new one
//!            judges     ◀one▶ goes                          the last step of the pass
//! ```
//!
//! Each arrow is one small transaction, so at every moment exactly one whole table judges, whatever stood before:
//! a known state, an edited table, one that nobody knows. Names stay those that deltas go by, and a script holds its
//! content once: the stand-in is the same text under another name. If nothing stands (a boot), or a stand-in does that
//! an agent left which was killed, the second pass alone does it. Pure.

use std::borrow::Cow;

use bytes::Bytes;
use flock_shared::Script;
use flock_shared::steps;
use flock_shared::tables::{JUDGING, STAND_IN_SUFFIX, TABLE};

/// The chain by which a stand-in says that it judges. Nothing jumps there.
const JUDGES: &str = "judges";

/// The steps of a script, and the tables that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    steps: Vec<Bytes>,
    tables: Vec<&'static str>,
}

impl Series {
    /// The steps of a script.
    #[must_use]
    pub fn of(script: &Script) -> Self {
        let bytes = script.bytes();
        let steps: Vec<Bytes> = steps::of(bytes).map(|step| bytes.slice_ref(step)).collect();
        let names = |table: &str| contains(bytes, table.as_bytes());
        Self { steps, tables: JUDGING.into_iter().filter(|table| *table == TABLE || names(table)).collect() }
    }

    /// Returns true if it is more than one transaction.
    #[must_use]
    pub const fn is_stepped(&self) -> bool {
        self.steps.len() > 1
    }

    /// The tables that it builds.
    #[must_use]
    pub fn tables(&self) -> &[&'static str] {
        &self.tables
    }

    /// The steps as they are.
    #[must_use]
    pub fn steps(&self) -> Vec<Bytes> {
        self.steps.clone()
    }

    /// The first pass: builds the stand-ins, and lets them judge in place of the tables.
    #[must_use]
    pub fn first_pass(&self) -> Vec<Bytes> {
        let judges = format!("add chain {TABLE}{STAND_IN_SUFFIX} {JUDGES}\n");
        let renamed = self.steps.iter().map(|step| self.renamed(step)).collect();
        ending(renamed, &[judges, removal(self.tables.iter().map(|table| Cow::Borrowed(*table)))].concat())
    }

    /// The second pass: builds the tables, and lets them judge in place of the stand-ins.
    #[must_use]
    pub fn second_pass(&self) -> Vec<Bytes> {
        // In one transaction with the last step, so that there is no moment in which nothing judges.
        ending(self.steps.clone(), &self.without_stand_ins())
    }

    /// Statements that remove the stand-ins, if there are any.
    #[must_use]
    pub fn without_stand_ins(&self) -> String {
        removal(self.tables.iter().map(|table| Cow::Owned(format!("{table}{STAND_IN_SUFFIX}"))))
    }

    /// Statements that remove the tables, if there are any.
    #[must_use]
    pub fn without_tables(&self) -> String {
        removal(self.tables.iter().map(|table| Cow::Borrowed(*table)))
    }

    /// A step on the stand-ins.
    fn renamed(&self, step: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(step.len() + step.len() / 8);
        let mut rest = step;
        while let Some((before, table)) = self.next_table(rest) {
            let end = before + table.len();
            out.extend_from_slice(rest.get(..end).unwrap_or_default());
            out.extend_from_slice(STAND_IN_SUFFIX.as_bytes());
            rest = rest.get(end..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
        out.into()
    }

    /// Where the next table is named, and which. No string that a script may quote is long enough to hold a name.
    fn next_table(&self, text: &[u8]) -> Option<(usize, &'static str)> {
        let places = self.tables.iter().filter_map(|table| Some((find(text, table.as_bytes())?, *table)));
        // The first in the text. Names are found as whole words, so no two tables are named at one place.
        places.min()
    }
}

/// A question to which nft says yes if a stand-in judges.
#[must_use]
pub fn stand_in_judges() -> String {
    format!("add rule {TABLE}{STAND_IN_SUFFIX} {JUDGES} accept\n")
}

/// Statements that remove tables. Deleting a missing one fails, so each is added first: `destroy` is unknown to nft
/// 1.0.6.
pub fn removal<'a>(tables: impl Iterator<Item = Cow<'a, str>>) -> String {
    tables.map(|table| format!("add table {table}\ndelete table {table}\n")).collect()
}

/// The steps, with more in the last one.
fn ending(mut steps: Vec<Bytes>, more: &str) -> Vec<Bytes> {
    if let Some(last) = steps.last_mut() {
        let newline = if last.is_empty() || last.ends_with(b"\n") { "" } else { "\n" };
        *last = [last, newline.as_bytes(), more.as_bytes()].concat().into();
    }
    steps
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    find(text, word).is_some()
}

/// Where a word stands that neither begins nor goes on in a longer one.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    let of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let first = *word.first()?;
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let place = from + rest.iter().position(|byte| *byte == first)?;
        let end = place + word.len();
        let is_whole = !text.get(end).is_some_and(of_word)
            && !place.checked_sub(1).and_then(|before| text.get(before)).is_some_and(of_word);
        if is_whole && text.get(place..end)? == word {
            return Some(place);
        }
        from = place + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "add table inet flock_netpol\ndelete table inet flock_netpol\ntable inet flock_netpol {\n}\n\
                        # step\ntable inet flock_netpol {\n}\nadd set inet flock_netpol rev_1 { typeof ip saddr; }\n";

    fn texts(steps: Vec<Bytes>) -> Vec<String> {
        steps.into_iter().map(|step| String::from_utf8(step.to_vec()).unwrap()).collect()
    }

    #[test]
    fn the_first_pass_is_the_same_text_on_the_stand_in_and_ends_the_table() {
        let passes = texts(Series::of(&Script::new(FULL)).first_pass());
        assert_eq!(
            passes,
            [
                "add table inet flock_netpol_next\ndelete table inet flock_netpol_next\ntable inet flock_netpol_next {\n}\n",
                "table inet flock_netpol_next {\n}\nadd set inet flock_netpol_next rev_1 { typeof ip saddr; }\n\
                 add chain inet flock_netpol_next judges\nadd table inet flock_netpol\ndelete table inet flock_netpol\n",
            ]
        );
    }

    #[test]
    fn the_second_pass_is_the_script_and_ends_the_stand_in() {
        let passes = texts(Series::of(&Script::new(FULL)).second_pass());
        let [first, last] = FULL.split_once("# step\n").map(|(a, b)| [a, b]).unwrap();
        assert_eq!(passes[0], first);
        let end = "add table inet flock_netpol_next\ndelete table inet flock_netpol_next\n";
        assert_eq!(passes[1], format!("{last}{end}"));
    }

    #[test]
    fn a_script_that_names_the_bridges_table_builds_that_too() {
        let script = "table inet flock_netpol {\n}\n# step\ntable bridge flock_netpol {\n}\n";
        let series = Series::of(&Script::new(script));
        let first = texts(series.first_pass());
        assert!(first[1].starts_with("table bridge flock_netpol_next {"), "{first:?}");
        assert!(first[1].contains("delete table bridge flock_netpol\n"), "{first:?}");
        assert!(series.without_stand_ins().contains("delete table bridge flock_netpol_next\n"));
        let series = Series::of(&Script::new(FULL));
        assert!(!series.without_stand_ins().contains("bridge"), "a kernel may know no bridges");
    }

    #[test]
    fn other_words_are_left_alone() {
        let script = "table inet flock_netpol2 {\n}\n# step\nfinet flock_netpol";
        let [first, second] = &texts(Series::of(&Script::new(script)).first_pass())[..] else { panic!() };
        assert_eq!(first, "table inet flock_netpol2 {\n}\n");
        assert!(second.starts_with("finet flock_netpol\n"), "{second}");
    }
}
