SUMMARY = "edgerotate on a device that RAUC updates"
DESCRIPTION = "rauc-mark-good.service requires boot-complete.target, and that requires edgerotate-health.service: an \
image with which the device can no longer do its work is never marked as good, and the boot loader falls back."
SECTION = "net"

PACKAGE_ARCH = "${TUNE_PKGARCH}"

inherit packagegroup

RDEPENDS:${PN} = "packagegroup-edgerotate rauc rauc-mark-good"
