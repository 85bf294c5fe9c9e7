inherit stand-in-cross

PN = "binutils-cross-${TARGET_ARCH}"
PROVIDES = "virtual/cross-binutils virtual/${TARGET_PREFIX}binutils"
STAND_IN_TOOLS = "ar as ld ld.bfd nm objcopy objdump ranlib readelf strings strip"
