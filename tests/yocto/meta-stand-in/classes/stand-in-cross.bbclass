# Debian's cross compiler and tools, under the names that OpenEmbedded's have.
inherit cross stand-in

do_install() {
    bin=${D}${bindir_native}/${TARGET_ARCH}${TARGET_VENDOR}-${TARGET_OS}
    install -d $bin
    for tool in ${STAND_IN_TOOLS}; do
        cat >$bin/${TARGET_PREFIX}$tool <<END
#!/bin/sh
exec /usr/bin/${STAND_IN_DEBIAN}-$tool "\$@"
END
        chmod 755 $bin/${TARGET_PREFIX}$tool
    done
}

SYSROOT_DIRS_NATIVE = "${bindir_native}"
