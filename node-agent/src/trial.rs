//! The trial: what of the layout this node's nft and kernel refuse, asked before a script depends on it.
//!
//! `trial.nft` holds every kind of object and statement that the compiler writes, each by itself, in a table of its
//! own without base chains; a test of the compiler keeps it in step with the layout. nft checks it in the kernel
//! (`nft -c`) and commits nothing: so nobody hears of it, and a crash leaves nothing behind. The whole at once, and one
//! after the other only if that is refused.

use flock_proto::{REFUSED_LIMIT, REFUSED_LINES};
use flock_shared::tables::TRIAL_TABLE;
use tracing::warn;

use crate::child::ChildError;
use crate::nft::Nft;

/// Constructs: a line with the name, then what stands in the table.
const TRIAL: &str = include_str!("trial.nft");

/// What begins the name of a construct.
const NAME: &str = "## ";

/// The constructs, with their names.
fn constructs() -> impl Iterator<Item = (&'static str, &'static str)> {
    TRIAL.split(NAME).skip(1).filter_map(|construct| construct.split_once('\n'))
}

fn in_table(objects: &str) -> String {
    format!("table {TRIAL_TABLE} {{\n{objects}}}\n")
}

/// What is refused, in nft's words, a line each; nothing if all is taken.
///
/// # Errors
/// When nft gives no answer.
pub async fn refused(nft: &Nft) -> Result<Vec<String>, ChildError> {
    let whole: String = constructs().map(|(_, objects)| objects).collect();
    if nft.tried(&in_table(&whole)).await?.is_ok() {
        return Ok(Vec::new());
    }
    let mut refused = Vec::new();
    for (name, objects) in constructs() {
        if let Err(complaint) = nft.tried(&in_table(objects)).await? {
            let words = complaint.as_str().lines().next().unwrap_or_default();
            warn!(construct = name, words, "nft or the kernel refuses what scripts may hold");
            if refused.len() < REFUSED_LINES {
                refused.push(printable(&format!("{name}: {words}")));
            }
        }
    }
    Ok(refused)
}

fn printable(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(REFUSED_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_construct_has_a_name_of_its_own_and_no_base_chain() {
        let mut names: Vec<_> = constructs().map(|(name, _)| name).collect();
        assert!(names.len() >= 10 && names.iter().all(|name| !name.trim().is_empty()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), constructs().count());
        assert!(!TRIAL.contains(" hook "));
    }
}
