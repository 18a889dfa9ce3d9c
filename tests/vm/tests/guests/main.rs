//! What only a virtual machine shows: other kernels, and initial namespaces that a test may change.

mod conntrack;
mod machine;
