# Services of nixpkgs that edgerotate goes together with.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.litestream;
  yaml = pkgs.formats.yaml { };
in
{
  options.services = {
    litestream = {
      enable = lib.mkEnableOption "litestream";
      package = lib.mkPackageOption pkgs "litestream" { };
      environmentFile = mkOption {
        type = types.nullOr types.path;
        default = null;
      };
      settings = mkOption { inherit (yaml) type; };
    };
    pcscd.enable = lib.mkEnableOption "pcscd";
    udev.packages = mkOption {
      type = types.listOf types.package;
      default = [ ];
    };
  };

  config = lib.mkIf cfg.enable {
    environment.etc."litestream.yml".source = yaml.generate "litestream-config.yaml" cfg.settings;
    systemd.services.litestream = {
      wantedBy = [ "multi-user.target" ];
      after = [ "networking.target" ];
      serviceConfig = {
        ExecStart = "${cfg.package}/bin/litestream replicate";
        Restart = "always";
        User = "litestream";
        Group = "litestream";
      };
    };
    users.users.litestream = {
      group = "litestream";
      isSystemUser = true;
    };
    users.groups.litestream = { };
  };
}
