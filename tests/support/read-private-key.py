"""Tries to read a private key out of a PKCS#11 token, and prints the token's answer.

    read-private-key.py MODULE LABEL PIN_FILE

Asks the token itself (C_GetAttributeValue of CKA_VALUE): tools such as pkcs11-tool refuse before they ask,
which would prove nothing. Ends with 0 only if the token handed the key out.
"""

import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_ulong, c_void_p, cast, sizeof

CKA_CLASS, CKA_LABEL, CKA_VALUE = 0x0, 0x3, 0x11
CKO_PRIVATE_KEY = 3
CKF_SERIAL_SESSION = 4
CKU_USER = 1
ANSWERS = {0x11: "CKR_ATTRIBUTE_SENSITIVE", 0x12: "CKR_ATTRIBUTE_TYPE_INVALID", 0x101: "CKR_USER_NOT_LOGGED_IN"}


class Attribute(Structure):
    _fields_ = [("type", c_ulong), ("value", c_void_p), ("length", c_ulong)]


def ok(answer, what):
    if answer != 0:
        sys.exit(f"{what}: {ANSWERS.get(answer, hex(answer))}")


def main():
    module, label, pin_file = sys.argv[1:]
    label = label.encode()
    with open(pin_file, "rb") as file:
        pin = file.read().strip()

    token = ctypes.CDLL(module)
    ok(token.C_Initialize(None), "C_Initialize")
    count = c_ulong(16)
    slots = (c_ulong * 16)()
    ok(token.C_GetSlotList(ctypes.c_ubyte(1), slots, byref(count)), "C_GetSlotList")
    session = c_ulong()
    ok(token.C_OpenSession(c_ulong(slots[0]), c_ulong(CKF_SERIAL_SESSION), None, None, byref(session)), "C_OpenSession")
    ok(token.C_Login(session, c_ulong(CKU_USER), pin, c_ulong(len(pin))), "C_Login")

    kind = c_ulong(CKO_PRIVATE_KEY)
    search = (Attribute * 2)(
        Attribute(CKA_CLASS, cast(byref(kind), c_void_p), sizeof(kind)),
        Attribute(CKA_LABEL, cast(c_char_p(label), c_void_p), len(label)),
    )
    ok(token.C_FindObjectsInit(session, search, c_ulong(2)), "C_FindObjectsInit")
    key, found = c_ulong(), c_ulong()
    ok(token.C_FindObjects(session, byref(key), c_ulong(1), byref(found)), "C_FindObjects")
    if found.value != 1:
        sys.exit(f"no private key named {label.decode()}")

    room = ctypes.create_string_buffer(256)
    wanted = Attribute(CKA_VALUE, cast(room, c_void_p), 256)
    ok(token.C_GetAttributeValue(session, key, byref(wanted), c_ulong(1)), "C_GetAttributeValue(CKA_VALUE)")
    print(f"the token handed out {wanted.length} bytes of private key")


if __name__ == "__main__":
    main()
