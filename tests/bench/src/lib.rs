//! Benchmarks of loads and changes, as JSON and a table.
