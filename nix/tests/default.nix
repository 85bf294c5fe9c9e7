# NixOS VM tests: the module on a whole system, with a token in software, the test cloud on loopback and the real
# Litestream. `nix flake check` runs them where nixpkgs and KVM are to be had.
{ pkgs, module }:

let
  test =
    name: script: extra:
    pkgs.testers.runNixOSTest {
      name = "edgerotate-${name}";
      nodes.device = {
        imports = [
          module
          ./device.nix
          extra
        ];
      };
      testScript = builtins.readFile ./prelude.py + builtins.readFile script;
    };
in
{
  rotation = test "rotation" ./rotation.py { };
  kills = test "kills" ./kills.py { };
  update = test "update" ./update.py {
    # The next image, one setting further.
    specialisation.next.configuration.services.edgerotate.heartbeat.interval = "2s";
  };
}
