//! Everything in deploy/, checked against the API, the metrics and the programs that read it.
