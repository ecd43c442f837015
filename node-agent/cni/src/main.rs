//! The CNI plugin: asks the node's agent, waits, answers.

fn main() {}
