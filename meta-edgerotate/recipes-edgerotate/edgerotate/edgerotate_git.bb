# Builds from the checkout that this layer is a part of: what is committed is what the image has. A copy of the layer
# alone needs a release, see edgerotate_release.bb.template.
require edgerotate.inc

inherit externalsrc

EXTERNALSRC = "${@os.path.realpath(os.path.join(d.getVar('THISDIR'), '..', '..', '..'))}"
# Nothing is written to the checkout: what is built goes elsewhere, and no links to it either.
EXTERNALSRC_BUILD = "${WORKDIR}/build"
# nooelint: oelint.vars.mispell.unknown
EXTERNALSRC_SYMLINKS = ""

def checkout_version(d):
    import re
    cargo_toml = os.path.join(d.getVar('EXTERNALSRC'), 'Cargo.toml')
    bb.parse.mark_dependency(d, cargo_toml)
    try:
        with open(cargo_toml) as f:
            return re.search(r'^version = "([^"]+)"', f.read(), re.MULTILINE).group(1)
    except FileNotFoundError:
        raise bb.parse.SkipRecipe("this layer is not in edgerotate's checkout (there is no %s)" % cargo_toml)

PV = "${@checkout_version(d)}+git"
