//! Attended: for how long a compiler is known to attend to the node, as the table has it.
//!
//! A table may hold rules that apply only while nobody attends ([`crate::Match::Unattended`]): who cannot be told of pods
//! that are on their way has to reckon with them. Time is the kernel's business. The set [`SetName::Attended`] holds both
//! families, each of which the kernel takes out when its time is over, whoever has died meanwhile. The agent puts them in,
//! and nobody else does: a script declares the set, and has no elements for it.

use std::time::Duration;

use flock_shared::TABLE;

use crate::model::{Element, SetType};
use crate::name::{Family, SetName};
use crate::write::set_to;

/// Statements that let the node be attended to for so long from now, whatever was said before: one transaction, in which
/// there is no moment without. nft refuses them where the table has no such set.
///
/// Elements that are there keep their time on most kernels, so they are taken out first: by `flush`, which does not
/// mind if the kernel was quicker, and for which nft need not read the interval sets of the table. Nor need it for elements
/// in a block.
#[must_use]
pub fn attend(time: Duration) -> String {
    let seconds = time.as_secs();
    told(Family::ALL.map(|family| format!("{} timeout {seconds}s", Element::Family(family))))
}

/// Statements that let nobody attend to the node. nft refuses them where the table has no such set.
///
/// The set is declared as well, so that they come to a transaction also if nothing is in it: whoever counts them counts one.
#[must_use]
pub fn leave() -> String {
    told::<0>([])
}

fn told<const N: usize>(families: [String; N]) -> String {
    let mut out =
        ["flush set ", TABLE, " ", &SetName::Attended.to_string(), "\ntable ", TABLE, " {\n"].concat();
    // Writing to a String cannot fail.
    let _: std::fmt::Result =
        set_to(&mut out, &SetName::Attended, SetType::TimedFamilies, families.into_iter());
    out.push_str("}\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Lines;
    use crate::words::fields_of;
    use crate::{Content, Set, Table, write};

    #[test]
    fn both_families_are_there_for_so_long() {
        let text = attend(Duration::from_secs(30));
        let expected = "flush set inet flock_netpol attended\ntable inet flock_netpol {\n\tset attended {\n\t\t\
                        typeof meta nfproto\n\t\tflags timeout\n\t\telements = {\n\t\t\tipv4 timeout 30s, ipv6 \
                        timeout 30s\n\t\t}\n\t}\n}\n";
        assert_eq!(text, expected);
        assert_eq!(fields_of(SetType::TimedFamilies), fields_of(SetType::Families));
    }

    #[test]
    fn no_script_says_who_attends() {
        let set = |elements: &[Family]| {
            let elements = elements.iter().map(|family| Element::Family(*family)).collect();
            let set = Set { kind: SetType::TimedFamilies, content: Content::Elements(elements) };
            let sets = [(SetName::Attended, set)].into();
            write(&Table { sets, ..Table::default() })
        };
        let is_readable = |text: &str| Lines::of(text.as_bytes()).all(|line| line.is_ok());
        assert!(is_readable(&set(&[])));
        assert!(!is_readable(&set(&[Family::V4])));
        for text in [attend(Duration::from_secs(30)), leave()] {
            assert!(!is_readable(&text), "{text}");
        }
    }
}
