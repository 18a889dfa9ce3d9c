//! Builders, an in-process API server and network namespaces for tests.

pub mod netns;
pub mod objects;
pub mod world;
