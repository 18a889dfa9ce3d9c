//! A drop-in kube-proxy.

fn main() {}
