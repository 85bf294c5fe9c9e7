# Everything here is one line to read; what a line calls says more about itself.
.DEFAULT_GOAL := help
.PHONY: help demo test check test-all soak-endpoint image image-shell clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## a device's minute, watched: rotate, replicate, restore, compare (LITESTREAM=0.3.13 for the other generation)
	@tests/prepare demo && echo 'building edgerotate' && cargo build --locked --quiet --bins --example demo && cargo run --locked --quiet --example demo

test: ## all that must pass before a change goes in
	@tests/prepare test && tests/run

check: ## the quick loop: format, lints, unit tests
	@tests/prepare build && cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings && cargo test --locked --lib --bins

test-all: test demo ## the tests with those that take ten minutes, and the demo with both generations of Litestream
	@cargo test --locked --test guard -- --ignored && ENDPOINT_LIFETIME=20 cargo test --locked --test endpoint one_rotation_after_another
	@LITESTREAM=0.3.13 $(MAKE) --no-print-directory demo

soak-endpoint: ## half an hour: credentials of 15 min, three rotations, every client without a restart
	@tests/prepare test && ENDPOINT_LIFETIME=900 ENDPOINT_ROTATIONS=3 cargo test --locked --test endpoint one_rotation_after_another -- --nocapture

image: ## a device's root, as the tests boot it: units, edgerotate, Litestream, read-only (as root)
	@tests/prepare test && cargo build --locked --quiet && tests/image/build $(LITESTREAM)

image-shell: ## boot that image, provisioned, with a cloud beside it, and get a shell in it (as root)
	@tests/prepare test && cargo build --locked --quiet --bins && cargo run --locked --quiet --example image-shell

clean: ## remove all that was built and fetched
	@rm -rf target tests/cloud/target
