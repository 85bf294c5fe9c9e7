# Placeholders: tests/nix/check writes this file anew in its copy, with where the machine it runs on has each.
{
  path = "/usr/sbin:/usr/bin:/sbin:/bin";
  cargoHome = "/nonexistent/cargo";
  rustupHome = "/nonexistent/rustup";
  # Compiled dependencies are kept here from one build to the next.
  cache = "/var/tmp/edgerotate-nix";
  # What tests/cross has for other machines: by system, what cargo needs in its environment, and the machine's root.
  cross = "/nonexistent/cross";
  # OpenSSL's modules: where Debian puts them.
  libraries = "/usr/lib/x86_64-linux-gnu";
  litestream = "/usr/bin/litestream";
  opensslVersion = "3.0.0";
}
