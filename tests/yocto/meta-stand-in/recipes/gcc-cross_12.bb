inherit stand-in-cross

PN = "gcc-cross-${TARGET_ARCH}"
PROVIDES = "virtual/cross-cc virtual/cross-c++ virtual/${TARGET_PREFIX}gcc virtual/${TARGET_PREFIX}g++"
STAND_IN_TOOLS = "cpp g++ gcc gcc-ar gcc-nm gcc-ranlib"
