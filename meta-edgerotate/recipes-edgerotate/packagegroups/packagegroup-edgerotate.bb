SUMMARY = "edgerotate, Litestream and what they need"
DESCRIPTION = "What an image needs beside its settings, and beside the package of the HSM's PKCS#11 module."
SECTION = "net"

# Litestream has no package for every architecture.
PACKAGE_ARCH = "${TUNE_PKGARCH}"

inherit packagegroup

RDEPENDS:${PN} = "\
    edgerotate \
    edgerotate-litestream \
    edgerotate-settings \
    litestream \
"
