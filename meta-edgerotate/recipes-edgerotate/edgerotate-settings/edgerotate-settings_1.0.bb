SUMMARY = "edgerotate's settings, the same on every device of a fleet"
DESCRIPTION = "/etc/edgerotate/edgerotate.env, which you bring with a bbappend; the layer's README says how."
SECTION = "net"
LICENSE = "MIT"
# It is the layer's own file; nothing is fetched that could carry a licence.
# nooelint: oelint.var.licenseremotefile
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "file://edgerotate.env"

S = "${UNPACKDIR}"

inherit allarch

do_install() {
    install -D -m 0644 ${UNPACKDIR}/edgerotate.env ${D}${sysconfdir}/edgerotate/edgerotate.env
    if ! grep -q '^ *EDGEROTATE_ENDPOINT=' ${UNPACKDIR}/edgerotate.env; then
        bbwarn "edgerotate.env names no EDGEROTATE_ENDPOINT: on these devices heartbeats will be written and no" \
            "credentials fetched. Bring your own file with a bbappend."
    fi
}

CONFFILES:${PN} = "${sysconfdir}/edgerotate/edgerotate.env"
