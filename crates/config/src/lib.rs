//! Reads flags into one checked configuration, with kube-proxy's names and defaults.
