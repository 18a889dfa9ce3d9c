//! Node health and the HTTP endpoints that tell of it.
