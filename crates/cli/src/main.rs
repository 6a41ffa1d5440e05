//! The `organseg` command.
fn main() {}
