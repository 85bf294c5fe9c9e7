SUMMARY = "A device with edgerotate and Litestream"
DESCRIPTION = "A small image with a read-only root, and a data partition that outlives updates."
SECTION = "images"
LICENSE = "MIT"

# No login without a key or password of yours: add them in your own image, as ssh.
IMAGE_FEATURES += "read-only-rootfs"

IMAGE_INSTALL = "packagegroup-core-boot packagegroup-edgerotate ${CORE_IMAGE_EXTRA_INSTALL}"
IMAGE_LINGUAS = ""

inherit core-image

# Two roots for updates and /data, which stays. The Raspberry Pi's has its boot partition. Not ?=, which the machine's
# own file would win over: that has no data partition.
WKS_FILE = "edgerotate-${@'raspberrypi' if 'rpi' in d.getVar('MACHINEOVERRIDES').split(':') else 'qemu'}.wks.in"
IMAGE_FSTYPES += "wic wic.bmap"

# What runqemu starts then: this disk, with the kernel beside it.
QB_DEFAULT_FSTYPE = "wic"
# nooelint: oelint.vars.mispell.unknown
QB_FSINFO = "wic:no-kernel-in-fs"
# nooelint: oelint.vars.mispell.unknown
QB_KERNEL_ROOT = "/dev/vda1 ro"

# Sizes of the partitions, in wic's words.
# nooelint: oelint.vars.mispell.unknown
EDGEROTATE_ROOT_SIZE ?= "512M"
# nooelint: oelint.vars.mispell.unknown
EDGEROTATE_DATA_SIZE ?= "512M"
WICVARS:append = " EDGEROTATE_ROOT_SIZE EDGEROTATE_DATA_SIZE"

# Where /data is mounted; wic fills the partition with what is below it, which is nothing.
edgerotate_data[doc] = "Makes the place where the data partition is mounted"
edgerotate_data() {
    install -d ${IMAGE_ROOTFS}/data
}
ROOTFS_POSTPROCESS_COMMAND += "edgerotate_data"
