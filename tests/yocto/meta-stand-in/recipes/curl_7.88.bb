inherit stand-in

DEPENDS = "openssl"

# And what Debian's libcurl is linked to, so that the linker finds it.
do_install() {
    stand_in_libraries 'lib*.so.[0-9]*'
    rm -f ${D}${libdir}/lib[cm].so.* ${D}${libdir}/libc_* ${D}${libdir}/libssl.* ${D}${libdir}/libcrypto.* ${D}${libdir}/libgcc_s.* \
        ${D}${libdir}/libanl.* ${D}${libdir}/libBrokenLocale.* ${D}${libdir}/libcrypt.* ${D}${libdir}/libdl.* \
        ${D}${libdir}/libmvec.* ${D}${libdir}/libpthread.* ${D}${libdir}/libresolv.* ${D}${libdir}/librt.* \
        ${D}${libdir}/libutil.* ${D}${libdir}/libnss_*
    ln -sf libcurl.so.4 ${D}${libdir}/libcurl.so
    stand_in_headers 'curl'
    stand_in_pkgconfig libcurl
}

PACKAGES = "${PN}-dev lib${BPN}"
FILES:${PN}-dev = "${includedir} ${libdir}/libcurl.so ${libdir}/pkgconfig"
FILES:lib${BPN} = "${libdir}/*.so.*"
LEAD_SONAME = "libcurl.so.4"
