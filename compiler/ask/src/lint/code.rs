//! The codes: what each finding is called, how bad it is, and what to do about it.

use std::fmt;

use flock_compiler_core::object::LintCode;
use flock_proto::v1::Severity;

macro_rules! codes {
    ($($code:ident $number:literal $severity:ident $title:literal $help:literal)+) => {
        /// The code of a finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "title() and help() say what each is")]
        pub enum Lint { $($code),+ }

        impl Lint {
            /// All codes, in order.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// As it is written, such as `FLK001`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code)),+ }
            }

            /// As objects name it that silence it.
            #[must_use]
            pub const fn code(self) -> LintCode {
                match self { $(Self::$code => const { code($number) }),+ }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity),+ }
            }

            /// What it is about, in one sentence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$code => $title),+ }
            }

            /// Why it matters, and what to do about it.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$code => $help),+ }
            }
        }
    };
}

/// The code with a number that is one.
const fn code(number: u16) -> LintCode {
    match LintCode::new(number) {
        Some(code) => code,
        None => panic!("a number of three digits"),
    }
}

codes! {
    FLK001 1 Warning "A policy selects no pod"
        "No pod of the policy's namespace has the labels of spec.podSelector, so it does nothing. Mostly a label is \
         misspelt, or the workload has been renamed or removed."
    FLK002 2 Warning "A peer selects no pod or no namespace"
        "Nothing has the labels that this peer asks for, so it allows nobody. Mostly a label is misspelt, or a namespace \
         lacks it; every namespace has kubernetes.io/metadata.name."
    FLK003 3 Warning "A port name that no destination pod has"
        "A port's name is looked up on the destination pod. No pod that the rule leads to has a container port of this name \
         and protocol, so it allows nothing."
    FLK004 4 Warning "A pod that is isolated for egress cannot ask DNS"
        "As soon as a policy has egress, all that it does not allow is closed, DNS included. Allow UDP and TCP 53 to the \
         cluster's DNS pods."
    FLK005 5 Warning "One end allows it and the other does not"
        "Both ends are judged: the source's egress and the destination's ingress. What only one of them allows does not \
         pass. Allow it on the other side, or take the rule away."
    FLK006 6 Info "A rule or a policy adds nothing to others"
        "Everything that it allows is allowed by other rules for the same pods. It can be removed, and nothing changes."
    FLK007 7 Info "Two peers where one was probably meant"
        "A peer with namespaceSelector alone is every pod of those namespaces; the peer beside it, with podSelector alone, is \
         pods of the policy's own namespace. For such pods in such namespaces both belong into one peer: remove the dash \
         before the second."
    FLK008 8 Warning "An ipBlock within pod or service addresses"
        "Pods get other addresses when they are made anew, and what is sent to a Service is judged by the pod that it reaches. \
         Select pods by their labels; ipBlock is for what is outside of the cluster."
    FLK009 9 Info "Rules of a direction that policyTypes leaves out"
        "Rules are looked at only for the directions in spec.policyTypes. Add the direction there, or take the rules away."
    FLK010 10 Info "A peer is every address"
        "The block has every address of its family: everything inside and outside of the cluster. If that is meant, \
         silence it with the annotation flock.netpol/ignore: FLK010."
    FLK011 11 Warning "A rule that allows everything makes others idle"
        "A rule without peers and without ports allows everything. The other rules of this direction for the same pods do \
         nothing."
    FLK012 12 Info "UDP 53 is allowed and TCP 53 is not"
        "DNS goes on over TCP where an answer is too long for UDP. Allow TCP 53 to the same peers."
    FLK020 20 Info "A pod that nothing isolates"
        "No policy selects it: everything may reach it, and it may reach everything. A policy with an empty podSelector and \
         without rules isolates all pods of a namespace."
    FLK030 30 Error "Objects at odds, or not understood"
        "What the compiler could not do as it was asked, and what is done instead. Until it is mended, pods are isolated that \
         should not be, or something is not judged."
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_told_once() {
        let names: Vec<&str> = Lint::ALL.iter().map(|code| code.as_str()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        assert_eq!(names.len(), 14);
        for lint in Lint::ALL {
            assert_eq!(lint.code().to_string(), lint.as_str());
        }
    }
}
