inherit stand-in

do_install() {
    stand_in_libraries 'libssl.so*' 'libcrypto.so*'
    for name in ssl crypto; do ln -sf lib$name.so.3 ${D}${libdir}/lib$name.so; done
    stand_in_headers 'openssl'
    stand_in_pkgconfig openssl libssl libcrypto
}

PACKAGES = "${PN}-dev libssl libcrypto"
FILES:${PN}-dev = "${includedir} ${libdir}/*.so ${libdir}/pkgconfig"
FILES:libssl = "${libdir}/libssl.so.*"
FILES:libcrypto = "${libdir}/libcrypto.so.*"
