inherit stand-in

do_install() {
    install -d ${D}${datadir}/base-passwd
    echo 'root:*:0:0:root:/root:/bin/sh' >${D}${datadir}/base-passwd/passwd.master
    echo 'root:*:0:' >${D}${datadir}/base-passwd/group.master
}

# The recipe sysroot's /etc, and then the users of the recipes that it is made of.
stand_in_users() {
    install -d ${SYSROOT_DESTDIR}${bindir}
    cat >${SYSROOT_DESTDIR}${bindir}/postinst-${PN} <<END
#!/bin/sh -e
etc=${STAGING_DIR_TARGET}${sysconfdir}
install -d \$etc
for name in passwd group; do cp ${STAGING_DIR_TARGET}${datadir}/base-passwd/\$name.master \$etc/\$name; done
for script in ${STAGING_DIR_TARGET}${bindir}/postinst-useradd-*; do [ ! -f \$script ] || \$script; done
END
    chmod 755 ${SYSROOT_DESTDIR}${bindir}/postinst-${PN}
}
SYSROOT_PREPROCESS_FUNCS += "stand_in_users"
