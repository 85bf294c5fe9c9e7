# Debian's compiler finds Debian's standard library by itself.
inherit stand-in

ALLOW_EMPTY:${PN} = "1"
