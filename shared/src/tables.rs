//! The tables that are ours: whoever looks for edits, sweeps or uninstalls goes by these lists.

/// The family and name of the table that judges routed packets, as nft writes them; users list it by this name.
pub const TABLE: &str = "inet flock_netpol";

/// The table beside it that judges frames between ports of bridges that pods hang on, with its family.
pub const BRIDGE_TABLE: &str = "bridge flock_netpol";

/// The tables that scripts name.
pub const JUDGING: [&str; 2] = [TABLE, BRIDGE_TABLE];

/// What a table's name ends in while it stands in for the one of the same family that is being built anew.
pub const STAND_IN_SUFFIX: &str = "_next";

/// The stand-in of [`TABLE`].
pub const STAND_IN_TABLE: &str = "inet flock_netpol_next";

/// The table that an agent has nft try its statements in. None is ever committed.
pub const TRIAL_TABLE: &str = "inet flock_netpol_trial";

/// The same for statements of [`BRIDGE_TABLE`].
pub const BRIDGE_TRIAL_TABLE: &str = "bridge flock_netpol_trial";

/// Every table that is ours.
pub const ALL: [&str; 6] =
    [TABLE, STAND_IN_TABLE, TRIAL_TABLE, BRIDGE_TABLE, "bridge flock_netpol_next", BRIDGE_TRIAL_TABLE];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_are_ours() {
        assert!(JUDGING.iter().all(|table| ALL.contains(&format!("{table}{STAND_IN_SUFFIX}").as_str())));
        assert!(JUDGING.iter().all(|table| ALL.contains(table)));
        assert_eq!(STAND_IN_TABLE, format!("{TABLE}{STAND_IN_SUFFIX}"));
    }
}
