# `nix develop`: what builds edgerotate and looks after its code.
{
  mkShell,
  edgerotate,
  cargo,
  clippy,
  deadnix,
  libp11,
  lib,
  litestream,
  nixfmt,
  opensc,
  rustc,
  rustfmt,
  shellcheck,
  softhsm,
}:

mkShell {
  inputsFrom = [ edgerotate ];
  packages = [
    cargo
    clippy
    deadnix
    litestream
    nixfmt
    opensc
    rustc
    rustfmt
    shellcheck
    softhsm
  ];
  OPENSSL_ENGINES = "${lib.getLib libp11}/lib/engines";
}
