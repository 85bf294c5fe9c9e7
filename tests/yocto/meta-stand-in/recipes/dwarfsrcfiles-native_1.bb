# Lists sources for the package -src; there is none here.
inherit native stand-in

do_install() {
    install -d ${D}${bindir}
    printf '#!/bin/sh\nexit 0\n' >${D}${bindir}/dwarfsrcfiles
    chmod 755 ${D}${bindir}/dwarfsrcfiles
}
