# Where this machine has what the stand-in builds with; tests/nix/check writes it anew for the machine it runs on.
{
  path = "/usr/sbin:/usr/bin:/sbin:/bin";
  cargoHome = "/root/.cargo";
  rustupHome = "/root/.rustup";
  # Compiled dependencies are kept here from one build to the next.
  cache = "/var/tmp/edgerotate-nix";
  # OpenSSL's modules: where Debian puts them.
  libraries = "/usr/lib/x86_64-linux-gnu";
  litestream = "/usr/bin/litestream";
  opensslVersion = "3.0.0";
}
