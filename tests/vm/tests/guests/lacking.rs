//! The real proxy on kernels that lack something: it ends and names it.

use portolan_tests_vm::{Kernel, Vm, proxy};

/// What the proxy says at its end on a kernel without a module, and its exit code.
fn last_words_without(module: &str) -> (i32, String) {
    let binary = proxy().unwrap();
    let vm = Vm::new(Kernel::Bookworm).copy(&binary).without([module]);
    // Without it the proxy would relay by itself, which takes nothing of the kernel's.
    let flags =
        ["--manifests=/root", "--hostname-override=node1", "--mode=nftables", "--mode-fallback=false"];
    let outcome = vm.run([binary.to_str().unwrap()].into_iter().chain(flags)).unwrap();
    let last = outcome.output.lines().rfind(|line| line.starts_with('E'));
    (outcome.code, last.unwrap_or_else(|| panic!("{}", outcome.output)).to_owned())
}

#[test]
fn missing_nf_tables_are_named() {
    let (code, words) = last_words_without("nf_tables");
    assert_eq!(code, 1);
    assert!(words.contains("nftables needs a kernel with nf_tables"), "{words}");
    assert!(words.contains("Operation not supported"), "{words}");
}

#[test]
fn missing_expression_is_named_with_the_rejected_rule() {
    for (module, rule) in [("nft_numgen", "numgen random"), ("nft_masq", "masquerade")] {
        let (code, words) = last_words_without(module);
        assert_eq!(code, 1, "{module}");
        let refused = words.split_once("kernel refused to add rule").map(|(_, refused)| refused);
        assert!(refused.is_some_and(|refused| refused.contains(rule)), "{module}: {words}");
    }
}
