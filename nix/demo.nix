# `nix run .#demo`: `make demo` in a copy of the source, where everything lies as on a Debian.
{
  lib,
  buildFHSEnv,
  cargo,
  curl,
  gcc,
  gnumake,
  libp11,
  opensc,
  openssl,
  pkg-config,
  python3,
  rustc,
  softhsm,
  util-linux,
  writeShellApplication,
}:

let
  debianLike = buildFHSEnv {
    name = "edgerotate-demo-root";
    targetPkgs = _: [
      cargo
      curl
      (lib.getDev curl)
      gcc
      gnumake
      libp11
      opensc
      openssl
      (lib.getDev openssl)
      pkg-config
      python3
      rustc
      softhsm
      util-linux
    ];
    profile = "export OPENSSL_ENGINES=${lib.getLib libp11}/lib/engines";
    runScript = "make demo";
  };
in
writeShellApplication {
  name = "edgerotate-demo";
  text = ''
    work=$(mktemp -d)
    trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
    cp -r --no-preserve=mode ${
      lib.fileset.toSource {
        root = ../.;
        fileset = lib.fileset.unions [
          ../.cargo
          ../build.rs
          ../link
          ../Cargo.lock
          ../Cargo.toml
          ../LICENSE
          ../Makefile
          ../README.md
          ../src
          ../systemd
          ../tests
        ];
      }
    }/. "$work"
    chmod +x "$work"/tests/prepare "$work"/tests/support/restart-litestream
    cd "$work"
    ${lib.getExe debianLike}
    cp -r target/demo "$OLDPWD/edgerotate-demo"
    echo "The picture and the figures are in $OLDPWD/edgerotate-demo."
  '';
}
