# Debian's tools know no --root that needs no change of root; --prefix does the same.
inherit native stand-in

PROVIDES = "shadow-native"

do_install() {
    install -d ${D}${sbindir}
    for tool in groupadd useradd groupmems usermod groupmod; do
        cat >${D}${sbindir}/$tool <<END
#!/bin/bash
args=("\$@")
exec /usr/sbin/$tool "\${args[@]/#--root/--prefix}"
END
        chmod 755 ${D}${sbindir}/$tool
    done
}
