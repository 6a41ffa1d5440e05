//! Benchmarks of organseg. `cargo bench` runs them; docs/BENCHMARKS.md says what they gave.
