//! Decides when to apply: merges bursts, retries, times and reports each run.
