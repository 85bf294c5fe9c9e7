inherit native stand-in

DEPENDS = ""
PROVIDES = "rust-native"

do_install() {
    install -d ${D}${bindir}
    for tool in rustc; do
        cat >${D}${bindir}/$tool <<END
#!/bin/sh
root=${STAND_IN_ROOTS}/rust
exec env LD_LIBRARY_PATH=\$root/usr/lib/x86_64-linux-gnu:\$root/lib/x86_64-linux-gnu \$root/usr/bin/$tool "\$@"
END
        chmod 755 ${D}${bindir}/$tool
    done
}
