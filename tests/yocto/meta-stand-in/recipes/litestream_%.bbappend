# The same program in an archive of the same form, made from a package of PyPI's: GitHub is not asked here.
SRC_URI = "file://${STAND_IN_ROOTS}/litestream-${LITESTREAM_ARCH}.tar.gz;subdir=litestream-${PV}"
LITESTREAM_SHA256_ARMV7 = "not fetched"
