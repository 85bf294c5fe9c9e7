# /data, which updates leave alone. The card's size is known on the device only: at the first boot the root gets its share
# of it, with room for some generations, and what is left becomes /data.
{ pkgs, ... }:

let
  rootMiB = 8192;
in
{
  # It would give the whole card to the root.
  sdImage.expandOnBoot = false;

  fileSystems."/data" = {
    device = "/dev/disk/by-label/DATA";
    fsType = "ext4";
    options = [
      "noatime"
      "x-systemd.requires=data-partition.service"
    ];
  };

  systemd.services.data-partition = {
    description = "Make the data partition";
    before = [
      "data.mount"
      "systemd-fsck@dev-disk-by\\x2dlabel-DATA.service"
    ];
    requiredBy = [ "data.mount" ];
    after = [ "systemd-remount-fs.service" ];
    unitConfig.DefaultDependencies = false;
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
    };
    path = [
      pkgs.e2fsprogs
      pkgs.parted
      pkgs.util-linux
    ];
    # Asks the disk itself, as udev may not have got there yet: what is there is never made again. After a power cut it
    # goes on where it was.
    script = ''
      ! blkid -L DATA || exit 0
      root=$(findmnt -n -o SOURCE /)
      disk=/dev/$(lsblk -n -o PKNAME "$root")
      partitions() { lsblk -n -p -l -o NAME "$disk" | tail -n +2; }
      if [ "$(partitions | wc -l)" -lt 3 ]; then
        echo ",${toString rootMiB}M" | sfdisk --no-reread -N 2 "$disk"
        # Behind the root: by itself, sfdisk takes the gap before the first partition.
        end=$(partx --noheadings --raw --output END --nr 2 "$disk")
        echo "$((end + 1)),,L" | sfdisk --no-reread --append "$disk"
        partprobe "$disk"
        udevadm settle
      fi
      resize2fs "$root"
      data=$(partitions | tail -n 1)
      if [ -n "$(wipefs --noheadings "$data")" ]; then
        echo "$data has a filesystem already, and its label is not DATA" >&2
        exit 1
      fi
      mkfs.ext4 -q -L DATA "$data"
      udevadm settle
    '';
  };
}
