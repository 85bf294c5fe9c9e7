SUMMARY = "Confirms an update by SWUpdate only when edgerotate can work with it"
DESCRIPTION = "A unit that tells U-Boot, once boot-complete.target is reached, that the update is good; without it \
U-Boot counts its tries and falls back."
SECTION = "net"
LICENSE = "MIT"
# It is the layer's own file; nothing is fetched that could carry a licence.
# nooelint: oelint.var.licenseremotefile
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "file://edgerotate-swupdate-gate.service"

S = "${UNPACKDIR}"

REQUIRED_DISTRO_FEATURES = "systemd"

inherit allarch features_check systemd

# U-Boot's variable that says an update is on trial: upgrade_available, or ustate.
EDGEROTATE_SWUPDATE_TRIAL ?= "upgrade_available"

do_install() {
    install -d ${D}${systemd_system_unitdir}
    sed 's/@TRIAL@/${EDGEROTATE_SWUPDATE_TRIAL}/' ${UNPACKDIR}/edgerotate-swupdate-gate.service \
        > ${D}${systemd_system_unitdir}/edgerotate-swupdate-gate.service
}

SYSTEMD_SERVICE:${PN} = "edgerotate-swupdate-gate.service"

RDEPENDS:${PN} = "edgerotate libubootenv-bin"
