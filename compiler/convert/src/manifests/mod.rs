//! Manifests: cluster objects from files, read once. Whoever follows them as they change (`flock-compiler serve`) takes
//! [`files`], [`parse()`] and [`merge`] one by one.

mod document;
mod error;
pub mod files;
mod load;
mod objects;
mod parse;
mod stand_ins;
#[cfg(test)]
mod tests;

pub use error::{ManifestError, ObjectError};
pub use load::{Manifests, ReadOptions};
pub use objects::{Merged, Objects, merge};
pub use parse::{Parsed, parse};
