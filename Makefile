# Everything here is one line to read; what a line calls says more about itself.
.DEFAULT_GOAL := help
.PHONY: help demo test check test-all cross cross-test msrv clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## a device's minute, watched: rotate, replicate, restore, compare (LITESTREAM=0.3.13 for the other generation)
	@tests/prepare demo && echo 'building edgerotate' && cargo build --locked --quiet --bins --example demo && cargo run --locked --quiet --example demo

test: ## all that must pass before a change goes in
	@tests/prepare test && tests/run

check: ## the quick loop: format, lints, unit tests
	@tests/prepare build && cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings && cargo test --locked --lib --bins

test-all: test demo ## the tests, then the demo with both generations of Litestream, then edgerotate for armv7
	@LITESTREAM=0.3.13 $(MAKE) --no-print-directory demo
	@tests/cross test armv7

cross: ## release binaries for devices, aarch64 and armv7, in target/cross
	@tests/prepare cross && tests/cross build aarch64 armv7

cross-test: ## rotations, uploads and restores with them, under qemu
	@tests/prepare test && tests/cross test aarch64 armv7

msrv: ## the unit tests with Rust 1.85, the oldest that is promised
	@tests/prepare cross && tests/cross unit

clean: ## remove all that was built and fetched
	@rm -rf target tests/cloud/target
