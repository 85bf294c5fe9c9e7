# shellcheck shell=bash disable=SC2154  # Nix sets the derivation's attributes
# The phases of nixpkgs' stdenv, in small.
export PATH=$nativePath:$hostPath
work=$(mktemp -d)
cp -r --no-preserve=mode "$src" "$work/source"
cd "$work/source"
chmod -R u+w .
for phase in buildPhase checkPhase installPhase; do
    echo "── $phase"
    if declare -F "$phase" >/dev/null; then "$phase"; else eval "${!phase-}"; fi
done
eval "${postInstall-}"
