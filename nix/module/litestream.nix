# Litestream by nixpkgs' own module: its unit, user and litestream.yml. What that unit lacks (when it starts, what it may
# write, its sandbox) comes with edgerotate's package as drop-ins, from systemd/units/litestream.service.
{ config, lib, ... }:

let
  inherit (lib) types;
  cfg = config.services.edgerotate;
  litestream = config.services.litestream.package;

  generation = if lib.versionAtLeast (lib.getVersion litestream) "0.5" then "0.5" else "0.3";

  # As systemd/litestream has it. The environment file brings region and name: one image, many devices.
  replica = {
    type = "s3";
    inherit (cfg.litestream) bucket;
    region = "\${AWS_DEFAULT_REGION}";
    path = "\${EDGEROTATE_THING_NAME}/v${generation}/heartbeat";
    sync-interval = "1s";
  };
in
{
  options.services.edgerotate.litestream = {
    enable = lib.mkOption {
      type = types.bool;
      default = true;
      description = ''
        Whether to replicate with {option}`services.litestream`. Further databases go into
        {option}`services.litestream.settings`, and into {option}`services.edgerotate.guard.databases`.
      '';
    };
    bucket = lib.mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "example-device-replicas";
      description = "The bucket that the heartbeat's database is replicated to.";
    };
  };

  config = lib.mkIf (cfg.enable && cfg.litestream.enable) {
    assertions = [
      {
        assertion = cfg.litestream.bucket != null;
        message = ''
          services.edgerotate.litestream.bucket is not set: Litestream would have nowhere to replicate to. Set it, or
          services.edgerotate.litestream.enable = false.
        '';
      }
    ];

    services.litestream = {
      enable = true;
      settings.dbs = [
        (
          {
            path = cfg.database;
          }
          // (if generation == "0.5" then { inherit replica; } else { replicas = [ replica ]; })
        )
      ];
    };
    services.edgerotate.litestream.program = lib.mkDefault "${lib.getBin litestream}/bin/litestream";

    # edgerotate-restart.path starts it, when the first credentials come: at boot nothing is to wait for what it waits for.
    systemd.services.litestream.wantedBy = lib.mkForce [ ];

    # Only files that it may write make a sandboxed Litestream's database whole; both users have this group.
    users.users.litestream = {
      uid = 781;
      extraGroups = [ "replica" ];
    };
    users.groups.litestream.gid = 781;
  };
}
