# Files of root, without being root: by a namespace of one's own.
inherit native stand-in

PROVIDES = "pseudo-native virtual/fakeroot-native"

do_install() {
    install -d ${D}${bindir}
    cat >${D}${bindir}/pseudo <<END
#!/bin/sh
# Asked to stop the server that there is none of.
[ "\$1" = -S ] && exit 0
[ "\$(id -u)" = 0 ] && exec "\$@"
exec /usr/bin/unshare --map-root-user -- "\$@"
END
    chmod 755 ${D}${bindir}/pseudo
}
