SUMMARY = "Lets Mender commit an update only when edgerotate can work with it"
DESCRIPTION = "A state script in the artifact, run after the reboot into the new image and before it is committed: an \
error there makes Mender roll back."
SECTION = "net"
LICENSE = "MIT"
# It is the layer's own file; nothing is fetched that could carry a licence.
# nooelint: oelint.var.licenseremotefile
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "file://edgerotate-gate"

S = "${UNPACKDIR}"

inherit allarch mender-state-scripts

do_compile() {
    install -m 0755 ${UNPACKDIR}/edgerotate-gate ${MENDER_STATE_SCRIPTS_DIR}/ArtifactCommit_Enter_50_edgerotate
}

# The script travels in the artifact; in the image there is nothing of it.
ALLOW_EMPTY:${PN} = "1"
