# What the units of systemd/ say in [Install], as options: systemd.packages takes units from a package and leaves that aside.
{ lib }:

let
  lines = text: lib.splitString "\n" text;
  matches = pattern: text: lib.filter (m: m != null) (map (builtins.match pattern) (lines text));

  # What systemd/install brings with the set "edgerotate".
  units = map lib.head (
    matches "edgerotate +[0-9]+ units/([^ @]+) .*" (builtins.readFile ../../systemd/manifest)
  );

  of =
    suffix:
    lib.listToAttrs (
      map (
        unit:
        let
          targets =
            key: map lib.head (matches "${key}=(.*)" (builtins.readFile (../../systemd/units + "/${unit}")));
        in
        lib.nameValuePair (lib.removeSuffix suffix unit) {
          wantedBy = targets "WantedBy";
          requiredBy = targets "RequiredBy";
        }
      ) (lib.filter (lib.hasSuffix suffix) units)
    );
in
{
  services = of ".service";
  paths = of ".path";
}
