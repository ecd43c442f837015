//! Lists within a sentence.

/// So many are named.
const NAMED: usize = 4;

/// The first four, and how many more there are: `a, b, c, d and 3 more`.
#[must_use]
pub fn listed(names: &[impl ToString]) -> String {
    let named: Vec<String> = names.iter().take(NAMED).map(ToString::to_string).collect();
    let named = named.join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn the_first_are_named_and_the_others_counted() {
        assert_eq!(listed(&[""; 0]), "");
        assert_eq!(listed(&["a", "b", "c", "d"]), "a, b, c, d");
        assert_eq!(listed(&[1, 2, 3, 4, 5, 6]), "1, 2, 3, 4 and 2 more");
    }
}
