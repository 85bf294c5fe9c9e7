# Everything here is one line to read; what a line calls says more about itself.
.DEFAULT_GOAL := help
.PHONY: help demo clients test bench check test-all cross cross-test msrv soak-endpoint soak-guard image image-shell image-aarch64 yocto-check yocto-build clean

help: ## say what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

# The AWS SDK for Rust, with a program around it: minutes.
rust-client = cargo build --locked --quiet --manifest-path tests/clients/rust/Cargo.toml --target-dir target/clients/rust

demo: ## a device's minute, watched: rotate, replicate, restore, compare (LITESTREAM=0.3.13 for the other generation)
	@tests/prepare demo && echo 'building edgerotate' && cargo build --locked --quiet --bins --example demo && cargo run --locked --quiet --example demo

test: ## all that must pass before a change goes in
	@tests/prepare test && tests/run

check: ## the quick loop: format, lints, unit tests
	@tests/prepare build && cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings && cargo test --locked --lib --bins --test house

.PHONY: nix-check nix-eval
nix-check: ## the Nix flake: evaluated, and the package built, with a stand-in for nixpkgs
	@tests/prepare test && tests/nix/check

nix-eval: ## the NixOS module with the real NixOS: NIXOS=DIR, a checkout that has nixos/, and LIB=DIR, one that has lib/
	@tests/prepare test && tests/nix/check with_nixos "$(NIXOS)" "$(LIB)"

test-all: test demo ## the tests with those that take ten minutes, the demo with both generations of Litestream, armv7, and Nix's aarch64
	@tests/prepare hsm && cargo test --locked --test hsm -- --ignored && TEST=hsm tests/provider-route provider softhsm_2 p_256
	@cargo test --locked --test guard -- --ignored --skip soak && ENDPOINT_LIFETIME=20 cargo test --locked --test endpoint one_rotation_after_another
	@$(rust-client) && cargo test --locked --test clients -- --ignored
	@LITESTREAM=0.3.13 $(MAKE) --no-print-directory demo
	@tests/cross test armv7
	@tests/nix/check the_package_for_aarch64_builds_and_rotates

cross: ## release binaries for devices, aarch64 and armv7, in target/cross
	@tests/prepare cross && tests/cross build aarch64 armv7

cross-test: ## rotations, uploads and restores with them, under qemu
	@tests/prepare test && tests/cross test aarch64 armv7

msrv: ## the unit tests with Rust 1.85, the oldest that is promised
	@tests/prepare cross && tests/cross unit

bench: ## what it costs, in target/bench: a release measured (PART='fetch idle …', QUICK=1 for a few minutes; flash as root)
	@tests/prepare bench && cargo bench --locked --bench bench

soak-guard: ## half an hour: 300 restarts of Litestream while S3 refuses, is slow, is away, under an application that checkpoints
	@tests/prepare test && cargo test --locked --test guard soak -- --ignored --nocapture

soak-endpoint: ## half an hour: credentials of 15 min, three rotations, every client without a restart
	@tests/prepare test && ENDPOINT_LIFETIME=900 ENDPOINT_ROTATIONS=3 cargo test --locked --test endpoint one_rotation_after_another -- --nocapture

clients: ## half an hour: every AWS client with credentials of 15 min, and the table of docs/programs.md in target/clients
	@tests/prepare test && $(rust-client) && CLIENTS_LIFETIME=900 CLIENTS_ROTATIONS=1 cargo test --locked --test clients -- --ignored --nocapture

image: ## a device's root, as the tests boot it: units, edgerotate, Litestream, read-only (as root)
	@tests/prepare image && cargo build --locked --quiet && tests/image/build $(LITESTREAM)

image-shell: ## boot that image, provisioned, with a cloud beside it, and get a shell in it (as root)
	@tests/prepare image && cargo build --locked --quiet --bins && cargo run --locked --quiet --example image-shell

image-aarch64: ## the same for aarch64 on an emulated machine: boot, rotate, upload, restore, how long each took (as root)
	@tests/prepare image-aarch64 && tests/cross build aarch64 && cargo run --locked --quiet --example image-aarch64

yocto-check: ## look through the Yocto layer, without BitBake
	@tests/prepare test && target/tools/venv/bin/python tests/yocto/check

yocto-build: ## build the layer's recipe with BitBake (OE=DIR BITBAKE=DIR META_OE=DIR, LAYERS='DIR…' for further layers)
	@tests/prepare yocto && tests/yocto/build

clean: ## remove all that was built and fetched
	@rm -rf target tests/cloud/target
