# Debian's cross compiler and tools, under the names that OpenEmbedded's have.
inherit cross stand-in

do_install() {
    install -d ${D}${bindir}
    for tool in ${STAND_IN_TOOLS}; do
        cat >${D}${bindir}/${TARGET_PREFIX}$tool <<END
#!/bin/sh
exec /usr/bin/${STAND_IN_DEBIAN}-$tool "\$@"
END
        chmod 755 ${D}${bindir}/${TARGET_PREFIX}$tool
    done
}
