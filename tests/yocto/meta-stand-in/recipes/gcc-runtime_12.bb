inherit stand-in

PROVIDES = "virtual/compilerlibs virtual/${TARGET_PREFIX}compilerlibs libgcc"

do_install() {
    stand_in_libraries 'libgcc_s.so.1'
    ln -s libgcc_s.so.1 ${D}${libdir}/libgcc_s.so
}

PACKAGES = "${PN}-dev libgcc"
FILES:${PN}-dev = "${libdir}/libgcc_s.so"
FILES:libgcc = "${libdir}/libgcc_s.so.1"
