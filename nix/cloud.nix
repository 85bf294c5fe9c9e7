# tests/cloud, which plays AWS for the tests of nix/tests.
{ lib, rustPlatform }:

rustPlatform.buildRustPackage {
  pname = "edgerotate-cloud";
  inherit ((lib.importTOML ../tests/cloud/Cargo.toml).package) version;

  src = lib.fileset.toSource {
    root = ../tests/cloud;
    fileset = lib.fileset.unions [
      ../tests/cloud/Cargo.lock
      ../tests/cloud/Cargo.toml
      ../tests/cloud/src
    ];
  };
  cargoLock.lockFile = ../tests/cloud/Cargo.lock;
  # Its tests want the AWS CLI and both Litestreams; `make test` runs them.
  doCheck = false;

  meta = {
    description = "Plays the AWS IoT credential provider and S3 for edgerotate's tests";
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    platforms = lib.platforms.linux;
    mainProgram = "edgerotate-cloud";
  };
}
