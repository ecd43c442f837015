//! The compiler's own certificates: an authority and a leaf that it makes itself, kept in a Secret.
//!
//! ```text
//! Secret ─▶ Material ─ renew(now) ─▶ Secret, if its resourceVersion is still the one that was read
//!              ├─ authorities ─▶ ConfigMap, which agents mount
//!              └─ leaf ─▶ shown to those who connect
//! ```
//!
//! Replicas do the same and the first one to write wins, so that all show a leaf by an authority that is published. A
//! new authority is published for a while before it signs, and an old one for a while after.

mod authority;
mod leaf;
mod manager;
mod material;
mod renew;
mod x509;

pub use manager::{CertificateLocation, CertificateManager, CertificateManagerError};
pub use material::{Material, MaterialError};
pub use renew::{Lifetimes, renew};
pub use x509::UnreadableError;
