//! What the tests of several crates share: builders and random worlds of objects, what calls backends, the table of
//! scenarios, a packet tracer, an independent reader of our tables, an in-process API server, and
//! network namespaces.

pub mod api_server;
pub mod conformance;
pub mod fake;
pub mod fixtures;
pub mod forward_proxy;
pub mod golden;
pub mod hostile;
pub mod netns;
pub mod objects;
mod process;
pub mod random;
mod runtime;
pub mod scenario;
pub mod shop;
pub mod trace;
pub mod upstream;
pub mod view;
pub mod world;

pub use process::Process;
pub use runtime::block_on;
