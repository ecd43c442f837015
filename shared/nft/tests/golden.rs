//! Whatever the compiler's goldens say is read, and written again with the same bytes.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as tests do")]

use std::fmt::Write as _;
use std::fs;

use flock_nft::costs::Costs;
use flock_nft::read::Lines;

fn goldens() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../compiler/tests/golden");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let scripts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "nft"));
    scripts.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn goldens_are_read_and_written_again() {
    let goldens = goldens();
    assert!(goldens.len() >= 33, "{} goldens", goldens.len());
    for (path, script) in goldens {
        let mut again = String::new();
        for line in Lines::of(script.as_bytes()) {
            writeln!(again, "{}", line.unwrap_or_else(|error| panic!("{path}: {error}"))).unwrap();
        }
        assert_eq!(again, script, "{path}");
        let costs =
            Costs::default().after(script.as_bytes()).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(costs.totals().chains >= 4, "{path}");
        // A full script replaces what stands.
        assert_eq!(costs.after(script.as_bytes()).unwrap(), costs, "{path}");
    }
}

#[test]
fn what_is_cut_short_is_refused() {
    let (_, script) = goldens().into_iter().max_by_key(|(_, script)| script.len()).unwrap();
    let ends: Vec<usize> = script.match_indices('\n').map(|(at, _)| at + 1).collect();
    for (count, end) in ends.iter().enumerate() {
        let whole = script.get(..*end).unwrap();
        let last = whole.lines().last().unwrap();
        let closed = last.ends_with('}') && !last.starts_with('\t') || count < 2;
        assert_eq!(Costs::default().after(whole.as_bytes()).is_ok(), closed, "{whole}");
        let cut = script.get(..end - 1).unwrap();
        assert!(Costs::default().after(cut.as_bytes()).is_err(), "{cut}");
    }
}
