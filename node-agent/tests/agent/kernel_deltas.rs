//! Deltas with the real nft: what led to a table, put together, brings it back in one transaction.

use flock_proto::{Outcome, Update, UpdateKind, v1};
use flock_shared::Script;
use flock_testkit::compiler::{FakeCompiler, patiently};
use rustix::process::Signal;

use crate::kernel::Namespace;
use crate::process::{agent, end, signal};
use crate::updates::revision;

/// A table as the compiler makes them: address sets, block sets, verdict maps, chains that share others.
const FULL: &str = "\
add table inet flock_netpol
delete table inet flock_netpol
table inet flock_netpol {
	set pods4_0000000000000000aaaaaaaaaaaaaaaa {
		typeof ip saddr
		elements = {
			10.0.0.1, 10.0.0.2
		}
	}
	set blocks4_0000000000000000aaaaaaaaaaaaaaaa {
		typeof ip saddr
		flags interval
		elements = {
			10.1.0.0/16, 192.168.0.0/24
		}
	}
	chain ingress_denied {
		counter drop
	}
	chain ingress_peers_0000000000000000aaaaaaaaaaaaaaaa {
		ip saddr @pods4_0000000000000000aaaaaaaaaaaaaaaa accept
		ip saddr @blocks4_0000000000000000aaaaaaaaaaaaaaaa accept
		goto ingress_denied
	}
	map ingress_ports_0000000000000000aaaaaaaaaaaaaaaa {
		typeof meta l4proto . th dport : verdict
		elements = {
			tcp . 80 : goto ingress_peers_0000000000000000aaaaaaaaaaaaaaaa
		}
	}
	chain ingress_0000000000000000aaaaaaaaaaaaaaaa {
		meta l4proto . th dport vmap @ingress_ports_0000000000000000aaaaaaaaaaaaaaaa
		goto ingress_denied
	}
	map ingress4 {
		typeof ip saddr : verdict
		elements = {
			10.0.0.1 : goto ingress_0000000000000000aaaaaaaaaaaaaaaa,
			10.0.0.2 : goto ingress_0000000000000000aaaaaaaaaaaaaaaa
		}
	}
	chain ingress {
		type filter hook forward priority filter - 9; policy drop;
		ct direction reply accept
		ip daddr vmap @ingress4
	}
}
";

/// What leads from each state to the next.
const DELTAS: [&str; 5] = [
    // Members come and go.
    "\
table inet flock_netpol {
	set pods4_0000000000000000aaaaaaaaaaaaaaaa {
		typeof ip saddr
		elements = {
			10.0.0.3, 10.0.0.4
		}
	}
	map ingress4 {
		typeof ip saddr : verdict
		elements = {
			10.0.0.3 : goto ingress_0000000000000000aaaaaaaaaaaaaaaa
		}
	}
}
delete element inet flock_netpol pods4_0000000000000000aaaaaaaaaaaaaaaa { 10.0.0.1 }
",
    // A new rule set beside the old one, with its own sets; a subject moves over.
    "\
table inet flock_netpol {
	set pods4_0000000000000000bbbbbbbbbbbbbbbb {
		typeof ip saddr
		elements = {
			10.0.0.9
		}
	}
	set blocks4_0000000000000000bbbbbbbbbbbbbbbb {
		typeof ip saddr
		flags interval
		elements = {
			10.2.0.0-10.2.3.9, 172.16.0.0/12
		}
	}
	map ingress_ports_0000000000000000bbbbbbbbbbbbbbbb {
		typeof meta l4proto . th dport : verdict
		elements = {
			tcp . 81 : accept,
			udp . 53 : goto ingress_peers_0000000000000000bbbbbbbbbbbbbbbb
		}
	}
	chain ingress_peers_0000000000000000bbbbbbbbbbbbbbbb {
		ip saddr @pods4_0000000000000000bbbbbbbbbbbbbbbb accept
		ip saddr @blocks4_0000000000000000bbbbbbbbbbbbbbbb accept
		goto ingress_denied
	}
	chain ingress_0000000000000000bbbbbbbbbbbbbbbb {
		meta l4proto . th dport vmap @ingress_ports_0000000000000000bbbbbbbbbbbbbbbb
		goto ingress_denied
	}
}
delete element inet flock_netpol ingress4 { 10.0.0.2 }
table inet flock_netpol {
	map ingress4 {
		typeof ip saddr : verdict
		elements = {
			10.0.0.2 : goto ingress_0000000000000000bbbbbbbbbbbbbbbb
		}
	}
}
",
    // All of them move, and the old one goes with everything that it had.
    "\
delete element inet flock_netpol ingress4 { 10.0.0.1, 10.0.0.3 }
table inet flock_netpol {
	map ingress4 {
		typeof ip saddr : verdict
		elements = {
			10.0.0.1 : goto ingress_0000000000000000bbbbbbbbbbbbbbbb,
			10.0.0.3 : goto ingress_0000000000000000bbbbbbbbbbbbbbbb
		}
	}
}
flush chain inet flock_netpol ingress_0000000000000000aaaaaaaaaaaaaaaa
delete chain inet flock_netpol ingress_0000000000000000aaaaaaaaaaaaaaaa
delete map inet flock_netpol ingress_ports_0000000000000000aaaaaaaaaaaaaaaa
flush chain inet flock_netpol ingress_peers_0000000000000000aaaaaaaaaaaaaaaa
delete chain inet flock_netpol ingress_peers_0000000000000000aaaaaaaaaaaaaaaa
delete set inet flock_netpol pods4_0000000000000000aaaaaaaaaaaaaaaa
delete set inet flock_netpol blocks4_0000000000000000aaaaaaaaaaaaaaaa
",
    // Names that are gone come back with other content; a chain gets other rules.
    "\
table inet flock_netpol {
	set pods4_0000000000000000aaaaaaaaaaaaaaaa {
		typeof ip saddr
		elements = {
			10.0.0.7
		}
	}
	set blocks4_0000000000000000aaaaaaaaaaaaaaaa {
		typeof ip saddr
		flags interval
		elements = {
			10.1.0.0/17
		}
	}
}
flush chain inet flock_netpol ingress_peers_0000000000000000bbbbbbbbbbbbbbbb
add rule inet flock_netpol ingress_peers_0000000000000000bbbbbbbbbbbbbbbb ip saddr @pods4_0000000000000000aaaaaaaaaaaaaaaa accept
add rule inet flock_netpol ingress_peers_0000000000000000bbbbbbbbbbbbbbbb ip saddr @blocks4_0000000000000000aaaaaaaaaaaaaaaa accept
add rule inet flock_netpol ingress_peers_0000000000000000bbbbbbbbbbbbbbbb goto ingress_denied
delete set inet flock_netpol pods4_0000000000000000bbbbbbbbbbbbbbbb
delete set inet flock_netpol blocks4_0000000000000000bbbbbbbbbbbbbbbb
",
    // A subject goes, another one is let go.
    "\
delete element inet flock_netpol ingress4 { 10.0.0.3 }
delete element inet flock_netpol ingress_ports_0000000000000000bbbbbbbbbbbbbbbb { tcp . 81 }
table inet flock_netpol {
	map ingress_ports_0000000000000000bbbbbbbbbbbbbbbb {
		typeof meta l4proto . th dport : verdict
		elements = {
			tcp . 81 : goto ingress_peers_0000000000000000bbbbbbbbbbbbbbbb
		}
	}
}
delete element inet flock_netpol pods4_0000000000000000aaaaaaaaaaaaaaaa { 10.0.0.7 }
",
];

/// The full script, and what it and each delta come to one behind the other.
pub(crate) fn scripts() -> Vec<String> {
    let whole = |count| [&[FULL], &DELTAS[..count]].concat().concat();
    (0..=DELTAS.len()).map(whole).collect()
}

fn marker(verb: &str, state: usize) -> String {
    let definition = if verb == "add" { " { typeof ip saddr; }" } else { "" };
    format!("{verb} set inet flock_netpol rev_{}{definition}\n", revision(&state.to_string()))
}

pub(crate) fn full() -> v1::Update {
    let script = Script::new(format!("{FULL}{}", marker("add", 0)));
    Update::new(revision("0"), UpdateKind::Full(script)).into()
}

/// From the state before this one.
pub(crate) fn delta(state: usize) -> v1::Update {
    let body = DELTAS[state - 1];
    let script = Script::new(format!("{body}{}{}", marker("delete", state - 1), marker("add", state)));
    let base = revision(&(state - 1).to_string());
    Update::new(revision(&state.to_string()), UpdateKind::Delta { base, script }).into()
}

#[tokio::test]
async fn a_table_that_deltas_led_to_comes_back_after_every_one_of_them() {
    let Some(namespace) = Namespace::new("deltas") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut compiler = FakeCompiler::start().await;
    let (url, nft) = (compiler.url(), namespace.nft());
    let state = folder.path().to_str().unwrap();
    let arguments = ["--node", "n1", "--compiler", &url, "--nft", &nft];
    let arguments = [&arguments[..], &["--check-interval", "0.2", "--state-dir", state]].concat();
    let start = || agent(&arguments).spawn().unwrap();

    let mut child = start();
    let mut session = compiler.session().await;
    session.apply(full()).await;
    for state in 1..=DELTAS.len() {
        session.apply(delta(state)).await;
        let table = namespace.table();

        assert!(namespace.succeeds("delete table inet flock_netpol"));
        let repaired = session.ack().await;
        let expected = (Some(revision(&state.to_string())), Outcome::Applied);
        assert_eq!((repaired.revision, repaired.outcome), expected, "{}", repaired.error);
        assert_eq!(namespace.table(), table, "while it runs, after delta {state}");

        // A boot without a compiler: it answers to nobody.
        signal(&child, Signal::TERM);
        session.end().await;
        drop(session);
        assert_eq!(end(child).await.status.code(), Some(0));
        assert!(namespace.succeeds("delete table inet flock_netpol"));
        child = start();
        session = compiler.session().await;
        assert_eq!(session.hello.applied, Some(revision(&state.to_string())));
        assert_eq!(namespace.table(), table, "at the next start, after delta {state}");
    }
    signal(&child, Signal::TERM);
    patiently(session.end()).await;
    drop(session);
    assert_eq!(end(child).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_delta_on_another_table_changes_nothing() {
    let Some(namespace) = Namespace::new("base") else {
        return;
    };
    let mut compiler = FakeCompiler::start().await;
    // One that listens would have put the table right before the delta comes.
    let (url, nft) = (compiler.url(), namespace.secluded_nft());
    let child = agent(&["--node", "n1", "--compiler", &url, "--nft", &nft]).spawn().unwrap();
    let mut session = compiler.session().await;
    session.apply(full()).await;
    let table = namespace.table();
    // Something else takes the marker away: the delta cannot know what it applies on.
    let marker = format!("delete set inet flock_netpol rev_{}", revision("0"));
    assert!(namespace.succeeds(&marker));
    assert_eq!(session.ask(delta(1)).await.outcome, Outcome::NftFailed);
    let repaired = session.ack().await;
    assert_eq!((repaired.revision, repaired.outcome), (Some(revision("0")), Outcome::Applied));
    assert_eq!(namespace.table(), table);
    session.apply(delta(1)).await;

    signal(&child, Signal::TERM);
    drop(session);
    assert_eq!(end(child).await.status.code(), Some(0));
}
