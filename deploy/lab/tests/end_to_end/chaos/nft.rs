//! An nft that fails once, fails for deltas only, or dies before or after it has committed.

use crate::ground::Ground;
use crate::support::wait::wait_until;

impl Ground {
    /// Lets the next script of n1 meet `commands`, once.
    fn once(&self, commands: &str) {
        self.set_trap("n1", &format!("rm $trap\n{commands}"));
    }
}

#[test]
fn a_failure_or_a_death_of_nft_is_made_good() {
    let Some(site) = super::site("nft-once") else { return };
    let _agents = site.agents_by_way_of(&site.compiler.url());
    let accidents = [
        ("a failure", "echo 'Error: failed once on purpose' >&2; exit 1"),
        ("a death before the script was read", "kill -KILL $$"),
        ("a death before the commit", "cat > /dev/null; kill -SEGV $$"),
        ("a death after the commit", "$nft \"$@\"; kill -KILL $$"),
        ("half a script", "head -c 200 | $nft -f -; exit 1"),
    ];
    for (number, (what, commands)) in (10..).zip(accidents) {
        site.ground.once(commands);
        site.change(number);
        site.converges(&format!("{number}"));
        assert!(!site.ground.has_trap("n1"), "{what} did not happen");
        site.change(number + 100);
        site.converges(&format!("{number}-after"));
    }
}

#[test]
fn an_nft_that_takes_no_deltas_gets_full_scripts() {
    let Some(site) = super::site("no-deltas") else { return };
    let _agents = site.agents_by_way_of(&site.compiler.url());
    // A full script begins by making the table, so that it can delete it.
    let commands = "script=$(mktemp); cat > $script\n\
                    head -n 1 $script | grep -q '^add table ' && $nft -f - < $script; status=$?\n\
                    rm $script\n\
                    [ $status = 0 ] || echo 'Error: takes no deltas on purpose' >&2\n\
                    exit $status";
    site.ground.set_trap("n1", commands);
    for number in 10..13 {
        site.change(number);
        site.converges(&format!("{number}"));
    }
    site.ground.remove_trap("n1");
    site.change(13);
    site.converges("after");
}

#[test]
fn a_table_that_updates_led_to_is_brought_back() {
    let Some(site) = super::site("table-lost") else { return };
    let _agent = site.agent("n1", &["--check-interval", "0.3"]);
    let _other = site.agent("n2", &[]);
    for number in 10..13 {
        site.change(number);
        site.converges(&format!("{number}"));
        site.ground.node("n1").nft("delete table inet flock_netpol").unwrap();
        wait_until("the table", || site.ground.holds("n1", &site.manifests.revision("n1")));
        site.converges(&format!("{number}-again"));
    }
}
