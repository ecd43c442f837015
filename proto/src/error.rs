//! Why a message that decoded as protobuf still means nothing.

use crate::FactsError;
use flock_shared::cni::SandboxError;
use flock_shared::prefixes::PrefixError;
use flock_shared::{HashMismatch, NameError, Revision, RevisionError, SupersededError};

/// What is wrong with a message. The field is named as in the `.proto` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field that must be there is absent.
    #[error("{field} is missing")]
    Missing {
        /// Message and field.
        field: &'static str,
    },
    /// A string is longer than the protocol allows.
    #[error("{field} has {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// Message and field.
        field: &'static str,
        /// Bytes found.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A string that is shown to people holds control characters.
    #[error("{field} holds control characters")]
    Unprintable {
        /// Message and field.
        field: &'static str,
    },
    /// The node's name is no node name.
    #[error("hello.node {0}")]
    Node(#[source] NameError),
    /// A revision is not 32 hexadecimal digits.
    #[error("{field}: {source}")]
    Revision {
        /// Message and field.
        field: &'static str,
        /// What was found.
        source: RevisionError,
    },
    /// Superseded revisions are too many, or one is there twice.
    #[error("{field}: {source}")]
    Superseded {
        /// Message and field.
        field: &'static str,
        /// What is wrong with them.
        source: SupersededError,
    },
    /// Facts of a node are too many, or one of them is none.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The SHA-256 is not 32 bytes long.
    #[error("update.sha256 has {length} bytes; expected 32")]
    HashLength {
        /// Bytes found.
        length: usize,
    },
    /// The script's bytes are not the ones that were hashed. The revision is known, so the update can be answered.
    #[error("update {revision}: {source}")]
    HashMismatch {
        /// The revision that the script claims to reach.
        revision: Revision,
        /// Both hashes.
        source: HashMismatch,
    },
    /// A full script or a delta without a single byte.
    #[error("update {revision} has an empty script, which no update but \"you have it already\" may")]
    EmptyScript {
        /// The update's revision.
        revision: Revision,
    },
    /// A delta whose base is the state it reaches.
    #[error("update {revision} is based on itself, and yet has a script")]
    BasedOnItself {
        /// The update's revision.
        revision: Revision,
    },
    /// The outcome is unspecified or of a later version of the protocol.
    #[error("ack.outcome {value} is unknown")]
    Outcome {
        /// The enum's number.
        value: i32,
    },
    /// A duration is negative or out of protobuf's range.
    #[error("ack.took is no duration: {seconds} s and {nanos} ns")]
    Duration {
        /// Whole seconds.
        seconds: i64,
        /// Nanoseconds on top.
        nanos: i32,
    },
    /// An answer about connections that comes with a script.
    #[error("update {revision} answers flows, and yet has a script")]
    AnswerWithScript {
        /// The update's revision.
        revision: Revision,
    },
    /// A list is longer than the protocol allows.
    #[error("{field} has {count} entries; at most {limit} are allowed")]
    TooMany {
        /// Message and field.
        field: &'static str,
        /// Entries found.
        count: usize,
        /// Entries allowed.
        limit: usize,
    },
    /// An address has neither 4 nor 16 bytes, or another family than the one beside it.
    #[error("{field} is no address: {length} bytes")]
    Address {
        /// Message and field.
        field: &'static str,
        /// Bytes found.
        length: usize,
    },
    /// A prefix is none.
    #[error("{field}: {source}")]
    Prefix {
        /// Message and field.
        field: &'static str,
        /// What is wrong with it.
        source: PrefixError,
    },
    /// The pod's namespace or name is none.
    #[error("sandbox.pod {0}")]
    Pod(#[source] NameError),
    /// A sandbox is none that there may be.
    #[error("{field}: {source}")]
    Sandbox {
        /// Message and field.
        field: &'static str,
        /// What is wrong with it.
        source: SandboxError,
    },
    /// A number is out of its range, or out of order.
    #[error("{field} must not be {value} here")]
    Number {
        /// Message and field.
        field: &'static str,
        /// What was found.
        value: u32,
    },
}
