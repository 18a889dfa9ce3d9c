//! Metric registry and definitions, with kube-proxy's names, labels and buckets.
