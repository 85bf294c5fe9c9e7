# rpmdeps finds what the files of a package need, for the check file-rdeps; Debian's package rpm has it.
inherit native stand-in

PROVIDES = "rpm-native"

do_install() {
    install -d ${D}${libdir}/rpm
    cat >${D}${libdir}/rpm/rpmdeps <<END
#!/bin/sh
exec /usr/lib/rpm/rpmdeps "\$@"
END
    chmod 755 ${D}${libdir}/rpm/rpmdeps
}
