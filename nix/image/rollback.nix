# A generation is good when the gate of edgerotate has let it through (boot-complete.target). One that fails there, and never
# was good, is left for the one that was.
#
# What does not come so far (a kernel that does not boot) is not caught: extlinux counts no tries. A board whose firmware
# does should use that as well.
{ config, ... }:

let
  # Beside what keeps it from being collected.
  good = "/nix/var/nix/gcroots/edgerotate-good";
  profile = "/nix/var/nix/profiles/system";
in
{
  # Without /data, say, the boot goes on, the gate fails, and the device goes back: nobody is there for a shell.
  systemd.enableEmergencyMode = false;

  systemd.targets.boot-complete.wantedBy = [ "multi-user.target" ];
  systemd.services.edgerotate-health.onFailure = [ "edgerotate-rollback.service" ];

  systemd.services.edgerotate-mark-good = {
    description = "Remember this generation as a good one";
    wantedBy = [ "multi-user.target" ];
    requires = [ "boot-complete.target" ];
    after = [ "boot-complete.target" ];
    serviceConfig.Type = "oneshot";
    script = ''
      ln -sfn "$(readlink -f /run/booted-system)" ${good}
    '';
  };

  systemd.services.edgerotate-rollback = {
    description = "Go back to the last good generation";
    serviceConfig.Type = "oneshot";
    path = [
      config.nix.package
      config.systemd.package
    ];
    script = ''
      # Not the one that was booted: a switch to another runs the gate as well.
      current=$(readlink -f /run/current-system)
      last=$(readlink -f ${good} || true)
      if [ ! -e "$last" ]; then
        echo "no generation was good before: staying with this one" >&2
      elif [ "$last" = "$current" ]; then
        echo "this generation was good before, so an update is not to blame: staying with it" >&2
      else
        echo "going back to $last" >&2
        nix-env --profile ${profile} --set "$last"
        ${profile}/bin/switch-to-configuration boot
        systemctl reboot
      fi
    '';
  };
}
