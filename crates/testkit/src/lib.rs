//! Builders, an in-process API server and network namespaces for tests.

pub mod api_server;
pub mod fixtures;
pub mod netns;
pub mod objects;
pub mod scenario;
pub mod trace;
pub mod view;
pub mod world;
