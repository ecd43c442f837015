//! The trial: what of the layout this node's nft and kernel refuse, asked before a script depends on it.
//!
//! `trial.nft` and, for family bridge, `trial_bridge.nft` hold every kind of object and statement that the compiler
//! writes, each by itself, in a table of its own without base chains; a test of the compiler keeps them in step with the layout. nft checks it in the kernel
//! (`nft -c`) and commits nothing: so nobody hears of it, and a crash leaves nothing behind. The whole at once, and one
//! after the other only if that is refused.

use flock_proto::{REFUSED_LIMIT, REFUSED_LINES};
use flock_shared::tables::{BRIDGE_TRIAL_TABLE, TRIAL_TABLE};
use tracing::warn;

use crate::child::ChildError;
use crate::nft::Nft;

/// Tables with their constructs: a line with the name, then what stands in the table.
const TRIALS: [(&str, &str); 2] =
    [(TRIAL_TABLE, include_str!("trial.nft")), (BRIDGE_TRIAL_TABLE, include_str!("trial_bridge.nft"))];

/// What begins the name of a construct.
const NAME: &str = "## ";

/// The constructs of a table, with their names.
fn constructs(trial: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    trial.split(NAME).skip(1).filter_map(|construct| construct.split_once('\n'))
}

fn in_table(table: &str, objects: &str) -> String {
    format!("table {table} {{\n{objects}}}\n")
}

/// What a trial has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What is refused, in nft's words, a line each; nothing if all is taken.
    pub refused: Vec<String>,
    /// Whether all is taken that takes down drops. Scripts do without where it is not.
    pub takes_drops: bool,
}

/// Returns true if this takes down drops, or shows them.
fn is_of_drops(objects: &str) -> bool {
    objects.contains("flags dynamic") || objects.contains(" log group ")
}

/// Tries all constructs.
///
/// # Errors
/// When nft gives no answer.
pub async fn run(nft: &Nft) -> Result<Trial, ChildError> {
    let whole =
        |(table, trial)| in_table(table, &constructs(trial).map(|(_, objects)| objects).collect::<String>());
    if nft.tried(&TRIALS.map(whole).concat()).await?.is_ok() {
        return Ok(Trial { refused: Vec::new(), takes_drops: true });
    }
    let (mut refused, mut takes_drops) = (Vec::new(), true);
    for (table, trial) in TRIALS {
        // A kernel may do without the family where no pod hangs on a bridge; else nft refuses the script in these words.
        if table == BRIDGE_TRIAL_TABLE && nft.tried(&in_table(table, "")).await?.is_err() {
            continue;
        }
        for (name, objects) in constructs(trial) {
            if let Err(complaint) = nft.tried(&in_table(table, objects)).await? {
                let words = complaint.as_str().lines().next().unwrap_or_default();
                takes_drops &= !is_of_drops(objects);
                warn!(table, construct = name, words, "nft or the kernel refuses what scripts may hold");
                if refused.len() < REFUSED_LINES {
                    refused.push(printable(&format!("{name}: {words}")));
                }
            }
        }
    }
    Ok(Trial { refused, takes_drops })
}

fn printable(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(REFUSED_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_construct_has_a_name_of_its_own_and_no_base_chain() {
        for (_, trial) in TRIALS {
            let mut names: Vec<_> = constructs(trial).map(|(name, _)| name).collect();
            assert!(names.len() >= 10 && names.iter().all(|name| !name.trim().is_empty()));
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), constructs(trial).count());
            let of_drops = constructs(trial).filter(|(_, objects)| is_of_drops(objects)).count();
            assert_eq!(of_drops > 5, !trial.contains("ether type"), "{of_drops}");
            assert!(!trial.contains(" hook "));
        }
    }
}
