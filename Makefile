# `make` alone lists what there is.
.PHONY: help demo test soak model vm matrix check fmt doc deny bless bench
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: ## show services reaching their endpoints, in namespaces of its own (root)
	@bash tests/demo/demo.sh

test: ## install what is missing, then all tests: unit, model, API server, kernel (root)
	@bash tests/run.sh

soak: ## random changes, faults, restarts and foreign edits in each mode: make soak MINUTES=10 MODE=iptables (root)
	@bash tests/soak.sh $(or $(MINUTES),10) $(MODE)

model: ## every property test with many random inputs: make model CASES=100000 (root for those of the kernel)
	@CASES=$(or $(CASES),100000) bash tests/model.sh

vm: ## scenarios in one kernel: make vm KERNEL=bullseye MODE=ipvs SCENARIO=hairpin::a_pod_reaches_itself_and_others
	@KERNELS=$(or $(KERNEL),bookworm) MODES=$(or $(MODE),nftables) bash tests/vm/matrix.sh $(or $(SCENARIO),hairpin::)

matrix: ## the scenario table in every mode on every kernel; KERNELS, MODES and GUESTS are read from the environment
	@bash tests/vm/matrix.sh

check: ## formats, lints and docs, as CI wants them
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	cargo check -p portolan # with no features but its own

fmt: ## format the code
	cargo fmt --all

deny: ## licences, sources and banned dependencies; installs cargo-deny if it is missing
	@cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --locked --quiet --debug
	cargo deny --log-level error check bans licenses sources

bless: ## rewrite what is kept beside tests and made by them: rulesets, listings, tables; read the diff
	BLESS=1 cargo test -p portolan-backend-nftables --test fake
	BLESS=1 cargo test -p portolan-backend-iptables --test goldens as_they_were_read
	BLESS=1 cargo test -p portolan-backend-ipvs --lib rules_equal_the_golden_file
	BLESS=1 cargo test -p portolan-core --test api --test messages
	BLESS=1 cargo test -p portolan-config -p portolan-metrics
	BLESS=1 cargo test -p portolan-tests-netns --lib what_holds_is
	for mode in iptables ipvs userspace; do BLESS=1 cargo test -p portolan-backend-$$mode --test kernel what_holds_is || exit; done
	BLESS=1 cargo test -p portolan-custom-backend what_holds_is
	BLESS=1 cargo test -p portolan-tests-deploy

bench: ## loads, changes and connections on this kernel, as a table and JSON (root)
	@bash tests/bench/run.sh
