//! What every bench needs: the machine it ran on, medians, memory, time on a core, progress, and a table that people can read.

mod machine;
mod memory;
mod processor;
mod progress;
mod statistics;
mod table;

pub use machine::machine;
pub use memory::{Memory, memory, reset_peak};
pub use processor::{TICKS_PER_SECOND, processor_time};
pub use progress::Progress;
pub use statistics::{Summary, summary};
pub use table::{Bar, Cell, Table, bytes, milliseconds, time};
