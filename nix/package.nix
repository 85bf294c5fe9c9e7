# The binary with the system's libcurl and OpenSSL, and the units that go with it.
#
# Dynamic and with glibc: neither an OpenSSL engine nor a vendor's PKCS#11 module can be loaded into a static program.
{
  lib,
  rustPlatform,
  makeBinaryWrapper,
  pkg-config,
  curl,
  openssl,
  libp11,
  pkcs11-provider,
}:

let
  # OpenSSL 4 has no engines; the module says so to whoever asks for one.
  hasEngines = lib.versionOlder openssl.version "4";
in
rustPlatform.buildRustPackage {
  pname = "edgerotate";
  inherit ((lib.importTOML ../Cargo.toml).package) version;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.lock
      ../Cargo.toml
      ../LICENSE
      ../README.md
      ../docs
      ../src
      ../systemd
      # Cargo.toml names it.
      ../tests/demo
      ../.cargo
      ../build.rs
      ../link
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  strictDeps = true;
  nativeBuildInputs = [
    makeBinaryWrapper
    pkg-config
  ];
  buildInputs = [
    curl
    openssl
  ];

  # What needs a token, Litestream and a cloud is nix/tests' part.
  checkType = "debug";
  cargoTestFlags = [
    "--lib"
    "--bins"
  ];

  postInstall = ''
    # OpenSSL looks for these in its own store path only.
    wrapProgram $out/bin/edgerotate \
      ${lib.optionalString hasEngines "--set-default OPENSSL_ENGINES ${lib.getLib libp11}/lib/engines"} \
      --set-default OPENSSL_MODULES ${lib.getLib pkcs11-provider}/lib/ossl-modules

    PREFIX=$out sh systemd/install edgerotate
    for hsm in $(sed -n 's/^hsm-\([a-z0-9]*\) .*/\1/p' systemd/manifest | sort -u); do
      PREFIX=$out/share/edgerotate/hsm/$hsm sh systemd/install hsm-$hsm
    done

    # NixOS has a unit for Litestream: of ours, what that one lacks.
    units=$out/lib/systemd/system
    install -D -m 644 systemd/sandbox.conf $units/litestream.service.d/10-sandbox.conf
    sed '/^\(Description\|Documentation\|ExecStart\|User\)=/d' \
      systemd/units/litestream.service >$units/litestream.service.d/05-edgerotate.conf

    install -D -m 644 -t $out/share/doc/edgerotate README.md LICENSE docs/*.md

    # systemctl is the running system's: a store path would be a second systemd.
    find $out/lib $out/share/edgerotate -type f -exec sed -i \
      -e "s|/usr/lib/edgerotate/edgerotate.env|/etc/edgerotate/edgerotate.env|g" \
      -e "s|/usr/bin/edgerotate|$out/bin/edgerotate|g" \
      -e "s|/usr/bin/systemctl|/run/current-system/systemd/bin/systemctl|g" \
      -e "s|/usr/bin/test|/run/current-system/sw/bin/test|g" \
      -e "s|/usr/share/doc|$out/share/doc|g" {} +
    for hsm in $out/share/edgerotate/hsm/*; do
      find $hsm -type f -exec sed -i "s|/usr/lib/edgerotate|$hsm/lib/edgerotate|g" {} +
    done
    if grep -r '^[^#]*/usr/' $out/lib $out/share/edgerotate; then
      echo "a path that NixOS does not have is left: see above" >&2
      exit 1
    fi
  '';

  passthru = {
    inherit openssl;
  };

  meta = {
    description = "Keeps short-lived AWS credentials fresh from a key in an HSM, and Litestream replicating with them";
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    platforms = lib.platforms.linux;
    mainProgram = "edgerotate";
  };
}
