//! What may have been meant: the nearest of the words that are there.

/// Longer words are not compared: labels have at most 63 characters, and a prefix of a key at most 253.
const LONGEST: usize = 64;

/// The word of `there` that is nearest to `word` and near enough to be meant; of several the first.
pub(super) fn nearest<'a>(word: &str, there: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    // A third of its letters may be wrong, and of a word of two letters one.
    let letters = word.chars().count();
    let limit = if letters == 2 { 1 } else { letters / 3 };
    // Lengths first: where these differ by more than may be wrong, nothing has to be measured.
    let near =
        |candidate: &&'a str| candidate.len() <= LONGEST && candidate.len().abs_diff(word.len()) <= limit;
    let measured = there.into_iter().filter(near).map(|candidate| (distance(word, candidate), candidate));
    measured
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

/// How many letters have to be added, taken away, changed or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, other) in b.iter().enumerate() {
            // Half of the largest number: one is added to it.
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let changed = at(&last, j) + usize::from(letter != other);
            let mut best = changed.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(other) && b.get(j - 1) == Some(letter);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        // A swap looks two rows back, so three rows are kept and no table.
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_one_that_may_have_been_mistyped() {
        for (word, there, expected) in [
            ("apii", &["web", "api", "apiserver"][..], Some("api")),
            ("databse", &["cache", "database"], Some("database")),
            ("wbe", &["web"], Some("web")),
            ("monitorin", &["monitoring", "ingress"], Some("monitoring")),
            ("web", &["api", "db"], None),
            ("a", &["b", "cd"], None),
            ("bd", &["api", "db"], Some("db")),
            ("web", &[], None),
        ] {
            assert_eq!(nearest(word, there.iter().copied()), expected, "{word}");
        }
        let long = "x".repeat(10_000);
        assert_eq!(nearest(&long, ["x"]), None);
    }

    #[test]
    fn a_distance_counts_letters() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 1), ("ä", "a", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
