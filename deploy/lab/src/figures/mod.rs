//! What every bench needs: the machine it ran on, medians, memory, progress, and a table that people can read.

mod machine;
mod memory;
mod progress;
mod statistics;
mod table;

pub use machine::machine;
pub use memory::{Memory, memory, reset_peak};
pub use progress::Progress;
pub use statistics::{Summary, summary};
pub use table::{Bar, Cell, Table, bytes, milliseconds, time};
