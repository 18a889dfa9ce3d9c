//! Builders, an in-process API server and network namespaces for tests.
