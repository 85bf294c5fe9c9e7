# shellcheck shell=bash disable=SC2154,SC2034  # Nix sets the derivation's attributes
# What buildRustPackage does, with the host's cargo and its registry.
export PATH=$nativePath:$CARGO_HOME/bin:$hostPath HOME=${TMPDIR-/tmp}
work=$(mktemp -d)
cp -r --no-preserve=mode "$src" "$work/source"
cd "$work/source"
chmod -R u+w .

export CARGO_TARGET_DIR=$cache/$rustTarget
mkdir -p "$CARGO_TARGET_DIR"
exec 9>"$CARGO_TARGET_DIR/.nix-lock"
flock 9
built=$CARGO_TARGET_DIR/release
target=()
if [[ $rustTarget != "$rustBuild" ]]; then
    # shellcheck source=/dev/null  # written by tests/nix/cross, where there is a sysroot
    source "$cache/cross-$rustTarget"
    target=(--target "$rustTarget")
    built=$CARGO_TARGET_DIR/$rustTarget/release
fi

echo "── build"
cargo build --release --locked "${target[@]}"
if [[ ${doCheck-} ]]; then
    echo "── check"
    # shellcheck disable=SC2086  # a list of words
    cargo test --locked ${cargoTestFlags-}
fi
echo "── install"
install -D -m 755 -t "$out/bin" "$built/$pname"
eval "${postInstall-}"
