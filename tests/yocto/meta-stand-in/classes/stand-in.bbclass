# For a recipe that takes the place of a real one, with files of Debian's packages.
SUMMARY = "Debian's files, in place of the real recipe's"
LICENSE = "CLOSED"

INHIBIT_DEFAULT_DEPS = "1"
# objdump, which looks for the libraries' names.
DEPENDS:append:class-target = " binutils-cross-${TARGET_ARCH}"
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_SYSROOT_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
ERROR_QA = ""
WARN_QA = ""
EXCLUDE_FROM_WORLD = "1"
DEV_PKG_DEPENDENCY = ""

do_configure[noexec] = "1"
do_compile[noexec] = "1"

# stand_in_libraries PATTERN...: what the loader and the linker need.
stand_in_libraries() {
    install -d ${D}${libdir} ${D}${includedir}
    for pattern in "$@"; do
        for dir in lib usr/lib; do
            for file in ${STAND_IN_ROOT}/$dir/${STAND_IN_DEBIAN}/$pattern; do
                [ -e "$file" ] || continue
                # A library of Debian's is often a link to another place there.
                cp -L "$file" ${D}${libdir}/
            done
        done
    done
}

# stand_in_headers PATTERN...
stand_in_headers() {
    for pattern in "$@"; do
        for dir in usr/include usr/include/${STAND_IN_DEBIAN}; do
            for file in ${STAND_IN_ROOT}/$dir/$pattern; do
                [ -e "$file" ] || continue
                cp -rL "$file" ${D}${includedir}/
            done
        done
    done
}

# stand_in_pkgconfig NAME...
stand_in_pkgconfig() {
    install -d ${D}${libdir}/pkgconfig
    for name in "$@"; do
        sed -e 's#/usr/lib/${STAND_IN_DEBIAN}#${libdir}#' -e 's#/usr/include/${STAND_IN_DEBIAN}#${includedir}#' \
            -e '/^\(Requires\|Libs\)\.private/d' \
            ${STAND_IN_ROOT}/usr/lib/${STAND_IN_DEBIAN}/pkgconfig/$name.pc >${D}${libdir}/pkgconfig/$name.pc
    done
}
