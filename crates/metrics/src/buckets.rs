//! Bucket bounds, in seconds unless said otherwise.

/// kube-proxy's bounds for durations of work: 1 ms, doubling to 16.384 s.
pub(crate) fn work() -> Vec<f64> {
    (0..15).map(|power| 0.001 * f64::from(1_u32 << power)).collect()
}

/// kube-proxy's bounds for network programming: 80 of them, up to five minutes.
pub(crate) fn network_programming() -> Vec<f64> {
    let below_one = [0.25, 0.5];
    let seconds = (1..=59).chain((60..=115).step_by(5)).chain((120..=300).step_by(30));
    below_one.into_iter().chain(seconds.map(f64::from)).collect()
}

/// For one commit to the kernel: 10 µs, times four up to 10.5 s. An update of one
/// endpoint lies near the lower end, a first load near the upper one.
pub(crate) fn transaction() -> Vec<f64> {
    (0..11).map(|power| 0.000_01 * f64::from(1_u32 << (2 * power))).collect()
}

/// For numbers of kernel objects: 1, times four up to a million.
pub(crate) fn operations() -> Vec<f64> {
    (0..11).map(|power| f64::from(1_u32 << (2 * power))).collect()
}

/// client-go's bounds for requests and for waiting for its rate limiter.
pub(crate) fn requests() -> Vec<f64> {
    vec![0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0]
}

/// client-go's bounds for sizes, in bytes: 64 to 16 MiB.
pub(crate) fn sizes() -> Vec<f64> {
    let sizes = [64, 256, 512, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216];
    sizes.map(f64::from).into()
}
