# Names only, for what edgerotate's packages depend on.
inherit stand-in

PROVIDES = "base-files ca-certificates libp11 ptest-runner shadow"
PACKAGES = "${PROVIDES}"
python () {
    for package in d.getVar('PACKAGES').split():
        d.setVar('ALLOW_EMPTY:' + package, '1')
}
