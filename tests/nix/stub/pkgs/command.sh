# shellcheck shell=bash disable=SC2154  # Nix sets the derivation's attributes
export PATH=$nativePath:$hostPath
eval "$text"
