inherit stand-in

PROVIDES = "virtual/libc virtual/libiconv virtual/libintl"

do_install() {
    stand_in_libraries '*crt*.o' 'ld-linux*' 'libBrokenLocale*' 'libanl.*' 'libc.*' 'libc_*' 'libcrypt.*' 'libdl.*' \
        'libm.*' 'libm-*' 'libmvec.*' 'libpthread.*' 'libresolv.*' 'librt.*' 'libutil.*' 'libnss_*'
    stand_in_headers '*'
    rm -rf ${D}${includedir}/openssl ${D}${includedir}/curl ${D}${includedir}/*-linux-gnu*
    # Paths in the linker's scripts are Debian's.
    for script in libc.so libm.so; do
        if grep -q 'GNU ld script' ${D}${libdir}/$script; then
            sed -i -e 's#/\(usr/\)\?lib/${STAND_IN_DEBIAN}#${libdir}#g' -e 's# /lib/ld-# ${libdir}/ld-#' ${D}${libdir}/$script
        fi
    done
}

PACKAGES = "${PN}-dev ${PN}"
FILES:${PN}-dev = "${includedir} ${libdir}/*.o ${libdir}/*.a ${libdir}/libc.so ${libdir}/libm.so"
FILES:${PN} = "${libdir}"
# As OpenEmbedded names it.
PKG:${PN} = "libc6"
DEBIAN_NOAUTONAME:${PN} = "1"
