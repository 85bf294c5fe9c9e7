# shellcheck shell=bash disable=SC2154  # Nix sets the derivation's attributes
# What buildRustPackage does, with the host's cargo and its registry.
export PATH=$nativePath:$CARGO_HOME/bin:$hostPath HOME=${TMPDIR-/tmp}

export CARGO_TARGET_DIR=$cache/$rustTarget
mkdir -p "$CARGO_TARGET_DIR"
exec 9>"$CARGO_TARGET_DIR/.nix-lock"
flock 9

# Always in the same place and each file as old as its last change, so that cargo compiles again what changed only: all
# files of the store are of one age.
source=$cache/source-$pname
mkdir -p "$source"
cd "$source" || exit
find . -type f | while read -r file; do [[ -e $src/$file ]] || rm "$file"; done
(cd "$src" && find . -type f) | while read -r file; do
    cmp -s "$src/$file" "$file" || install -D -m 644 "$src/$file" "$file"
done

built=$CARGO_TARGET_DIR/release
if [[ $rustTarget != "$rustBuild" ]]; then
    [[ -e $cross ]] || { echo "this machine has no compiler for $rustTarget: tests/cross unpacks one" >&2 && exit 1; }
    # shellcheck disable=SC1090  # what tests/cross wrote
    source "$cross"
    export PATH=$nativePath:$PATH CARGO_BUILD_TARGET=$rustTarget
    built=$CARGO_TARGET_DIR/$rustTarget/release
fi

echo "── build"
cargo build --release --locked
if [[ ${doCheck-} ]]; then
    echo "── check"
    # shellcheck disable=SC2086  # a list of words
    cargo test --locked ${cargoTestFlags-}
fi
echo "── install"
install -D -m 755 -t "$out/bin" "$built/$pname"
eval "${postInstall-}"
