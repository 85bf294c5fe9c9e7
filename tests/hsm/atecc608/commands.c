/* What the chip does with each command. The numbers are those of Microchip's data sheet. */
#include "inside.h"

#include <string.h>

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/rand.h>

enum zone { CONFIG, OTP, DATA };
enum opcode {
    READ = 0x02,
    WRITE = 0x12,
    NONCE = 0x16,
    LOCK = 0x17,
    RANDOM = 0x1b,
    COUNTER = 0x24,
    INFO = 0x30,
    GENKEY = 0x40,
    SIGN = 0x41,
    ECDH = 0x43,
    VERIFY = 0x45,
    SHA = 0x47,
    SELFTEST = 0x77
};

#define SLOT_CONFIG(c, s) ((c)->rom.config[20 + 2 * (s)] | (c)->rom.config[21 + 2 * (s)] << 8)
#define KEY_CONFIG(c, s) ((c)->rom.config[96 + 2 * (s)] | (c)->rom.config[97 + 2 * (s)] << 8)

static int config_locked(const struct chip *c)
{
    return c->rom.config[LOCK_CONFIG] != 0x55;
}
static int data_locked(const struct chip *c)
{
    return c->rom.config[LOCK_DATA] != 0x55;
}
static int slot_open(const struct chip *c, int slot)
{
    return c->rom.config[LOCK_SLOTS + slot / 8] >> slot % 8 & 1;
}
static int slot_private(const struct chip *c, int slot)
{
    return KEY_CONFIG(c, slot) & 1;
}
static int slot_size(int slot)
{
    return slot < 8 ? 36 : slot == 8 ? 416 : 72;
}

int new_key(struct chip *c, int slot)
{
    if (new_private_key(c->rom.private_key[slot]) != 0)
        return -1;
    c->rom.has_key[slot] = 1;
    save(c);
    return 0;
}

static void public_key(struct chip *c, int slot)
{
    uint8_t xy[64];
    EVP_PKEY *key = c->rom.has_key[slot] ? key_of(c->rom.private_key[slot], NULL) : NULL;
    if (key && public_of(key, xy) == 0)
        answer(c, xy, 64);
    else
        answer_status(c, EXECUTION);
    EVP_PKEY_free(key);
}

static uint8_t *place(struct chip *c, int p1, int p2, int *length)
{
    int zone = p1 & 3, offset = p2 & 7, block = p2 >> 3 & 3, size = 0;
    uint8_t *base = NULL;
    *length = p1 & 0x80 ? 32 : 4;
    if (zone == CONFIG) {
        base = c->rom.config;
        size = 128;
    } else if (zone == OTP) {
        base = c->rom.otp;
        size = 64;
    } else if (zone == DATA) {
        base = c->rom.data[p2 >> 3 & 15];
        size = slot_size(p2 >> 3 & 15);
        block = p2 >> 8 & 15;
    }
    int at = block * 32 + (p1 & 0x80 ? 0 : offset * 4);
    return base && at + *length <= (zone == DATA ? 416 : size) && at < size ? base + at : NULL;
}

static void do_read(struct chip *c, int p1, int p2)
{
    int length;
    const uint8_t *from = place(c, p1, p2, &length);
    if (!from)
        answer_status(c, PARSE);
    else if ((p1 & 3) == DATA && (!data_locked(c) || slot_private(c, p2 >> 3 & 15) ||
                                  SLOT_CONFIG(c, p2 >> 3 & 15) & 0x80))
        answer_status(c, EXECUTION);
    else
        answer(c, from, length);
}

static void do_write(struct chip *c, int p1, int p2, const uint8_t *data, int given)
{
    int length, zone = p1 & 3, slot = p2 >> 3 & 15;
    uint8_t *to = place(c, p1, p2, &length);
    if (!to || given < length) {
        answer_status(c, PARSE);
        return;
    }
    long at = to - c->rom.config;
    int never = zone == CONFIG && (at < 16 || (at + length > 84 && at < 88));
    int kept =
        zone == DATA && data_locked(c) && (SLOT_CONFIG(c, slot) >> 12 != 0 || !slot_open(c, slot));
    if (never || kept || (zone == CONFIG ? config_locked(c) : !config_locked(c)) ||
        (zone == DATA && slot_private(c, slot))) {
        answer_status(c, EXECUTION);
        return;
    }
    memcpy(to, data, (size_t)length);
    save(c);
    answer_status(c, OK);
}

static void do_lock(struct chip *c, int p1, int p2)
{
    int what = p1 & 3;
    if (what == 0 && !config_locked(c)) {
        if (!(p1 & 0x80) && crc16(c->rom.config, 128) != p2) {
            answer_status(c, EXECUTION);
            return;
        }
        c->rom.config[LOCK_CONFIG] = 0;
    } else if (what == 1 && config_locked(c) && !data_locked(c)) {
        c->rom.config[LOCK_DATA] = 0;
    } else if (what == 2 && data_locked(c) && slot_open(c, p1 >> 2 & 15)) {
        c->rom.config[LOCK_SLOTS + (p1 >> 2 & 15) / 8] &= (uint8_t) ~(1 << (p1 >> 2 & 15) % 8);
    } else {
        answer_status(c, EXECUTION);
        return;
    }
    save(c);
    answer_status(c, OK);
}

static void random_bytes(const struct chip *c, uint8_t *to)
{
    /* Until its configuration is locked a chip gives this in place of random numbers. */
    static const uint8_t unlocked[4] = {0xff, 0xff, 0, 0};
    if (config_locked(c))
        RAND_bytes(to, 32);
    else
        for (int i = 0; i < 32; i++)
            to[i] = unlocked[i % 4];
}

static void do_nonce(struct chip *c, int p1, const uint8_t *data, int given)
{
    if ((p1 & 3) != 3) {
        uint8_t random[32], input[55];
        random_bytes(c, random);
        memcpy(input, random, 32);
        memcpy(input + 32, data, 20);
        input[52] = NONCE;
        input[53] = (uint8_t)p1;
        input[54] = 0;
        EVP_Digest(input, sizeof input, c->temp_key, NULL, EVP_sha256(), NULL);
        c->temp_valid = 1;
        answer(c, random, 32);
        return;
    }
    int length = p1 & 0x20 ? 64 : 32;
    if (given < length) {
        answer_status(c, PARSE);
        return;
    }
    if ((p1 & 0xc0) == 0x40) {
        memcpy(c->message, data, (size_t)length);
        c->message_valid = 1;
    } else if ((p1 & 0xc0) == 0x80) {
        memcpy(c->alternate, data, 32);
    } else {
        memcpy(c->temp_key, data, (size_t)length);
        c->temp_valid = 1;
    }
    answer_status(c, OK);
}

static void do_genkey(struct chip *c, int p1, int slot)
{
    /* Keys can be made once the configuration is locked; after the data too is, where bit 13 of
     * SlotConfig lets one. */
    int may = config_locked(c) && slot < SLOTS && slot_private(c, slot) &&
              (KEY_CONFIG(c, slot) >> 2 & 7) == 4;
    if (!may ||
        (p1 & 4 && data_locked(c) && (!(SLOT_CONFIG(c, slot) & 0x2000) || !slot_open(c, slot))))
        answer_status(c, EXECUTION);
    else if (p1 & 4 && new_key(c, slot) != 0)
        answer_status(c, EXECUTION);
    else
        public_key(c, slot);
}

static void do_sign(struct chip *c, int p1, int slot)
{
    const uint8_t *digest = p1 & 0x20 ? c->message : c->temp_key;
    int valid = p1 & 0x20 ? c->message_valid : c->temp_valid;
    int may = config_locked(c) && data_locked(c) && slot < SLOTS && slot_private(c, slot) &&
              SLOT_CONFIG(c, slot) & 1;
    EVP_PKEY *key = may && valid && p1 & 0x80 && c->rom.has_key[slot]
                        ? key_of(c->rom.private_key[slot], NULL)
                        : NULL;
    EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    uint8_t der[80], raw[64];
    const uint8_t *at = der;
    size_t length = sizeof der;
    if (context && EVP_PKEY_sign_init(context) == 1 &&
        EVP_PKEY_sign(context, der, &length, digest, 32) == 1) {
        ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)length);
        BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw, 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw + 32, 32);
        ECDSA_SIG_free(signature);
        answer(c, raw, 64);
    } else {
        answer_status(c, EXECUTION);
    }
    c->temp_valid = 0;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(key);
}

static void do_verify(struct chip *c, int p1, int slot, const uint8_t *data, int given)
{
    uint8_t stored[64], der[80], *at = der;
    const uint8_t *digest = p1 & 0x20 ? c->message : c->temp_key, *public = data + 64;
    if ((p1 & 7) == 0 && slot >= 8 && slot < SLOTS && given >= 64) {
        /* A stored public key: each half behind four bytes. */
        memcpy(stored, c->rom.data[slot] + 4, 32);
        memcpy(stored + 32, c->rom.data[slot] + 40, 32);
        public = stored;
    } else if ((p1 & 7) != 2 || given < 128) {
        answer_status(c, PARSE);
        return;
    }
    EVP_PKEY *key = key_of(NULL, public);
    ECDSA_SIG *signature = ECDSA_SIG_new();
    ECDSA_SIG_set0(signature, BN_bin2bn(data, 32, NULL), BN_bin2bn(data + 32, 32, NULL));
    int length = i2d_ECDSA_SIG(signature, &at);
    EVP_PKEY_CTX *context = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    int good = context && EVP_PKEY_verify_init(context) == 1 &&
               EVP_PKEY_verify(context, der, (size_t)length, digest, 32) == 1;
    answer_status(c, !key ? EXECUTION : good ? OK : MISCOMPARE);
    EVP_PKEY_CTX_free(context);
    ECDSA_SIG_free(signature);
    EVP_PKEY_free(key);
}

static void do_ecdh(struct chip *c, int slot, const uint8_t *data, int given)
{
    uint8_t secret[32];
    size_t length = sizeof secret;
    int may = given >= 64 && config_locked(c) && slot < SLOTS && SLOT_CONFIG(c, slot) & 4 &&
              c->rom.has_key[slot];
    EVP_PKEY *mine = may ? key_of(c->rom.private_key[slot], NULL) : NULL,
             *theirs = may ? key_of(NULL, data) : NULL;
    EVP_PKEY_CTX *context = mine ? EVP_PKEY_CTX_new(mine, NULL) : NULL;
    if (context && theirs && EVP_PKEY_derive_init(context) == 1 &&
        EVP_PKEY_derive_set_peer(context, theirs) == 1 &&
        EVP_PKEY_derive(context, secret, &length) == 1)
        answer(c, secret, 32);
    else
        answer_status(c, EXECUTION);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(mine);
}

static void do_sha(struct chip *c, int p1, int p2, const uint8_t *data, int given)
{
    uint8_t digest[32];
    int length = p2 < given ? p2 : given;
    switch (p1 & 7) {
    case 0:
        EVP_DigestInit_ex(c->sha, EVP_sha256(), NULL);
        answer_status(c, OK);
        break;
    case 1:
        EVP_DigestUpdate(c->sha, data, (size_t)length);
        answer_status(c, OK);
        break;
    case 2:
        EVP_DigestUpdate(c->sha, data, (size_t)length);
        EVP_DigestFinal_ex(c->sha, digest, NULL);
        memcpy((p1 & 0xc0) == 0x40 ? c->message : c->temp_key, digest, 32);
        *((p1 & 0xc0) == 0x40 ? &c->message_valid : &c->temp_valid) = (p1 & 0xc0) != 0xc0;
        answer(c, digest, 32);
        break;
    default: answer_status(c, PARSE);
    }
}

static void do_counter(struct chip *c, int p1, int id)
{
    if (id > 1 || p1 > 1) {
        answer_status(c, PARSE);
        return;
    }
    if (p1 == 1) {
        c->rom.counter[id]++;
        save(c);
    }
    uint32_t value = c->rom.counter[id];
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                        (uint8_t)(value >> 24)};
    answer(c, bytes, 4);
}

static void do_info(struct chip *c, int p1, int p2)
{
    uint8_t four[4] = {0};
    if (p1 == 0)
        memcpy(four, c->rom.config + 4, 4);
    else if (p1 == 1)
        four[0] = p2 < SLOTS && c->rom.has_key[p2];
    else if (p1 == 2)
        four[0] = c->temp_valid ? 0x80 : 0;
    else {
        answer_status(c, PARSE);
        return;
    }
    answer(c, four, 4);
}

static double takes(const struct chip *c, int opcode)
{
    static const struct {
        int opcode, ms;
    } usual[] = {
        {READ, 1},   {INFO, 1},     {NONCE, 7},      {RANDOM, 15}, {SHA, 9},
        {WRITE, 20}, {LOCK, 20},    {GENKEY, 75},    {SIGN, 60},   {VERIFY, 60},
        {ECDH, 50},  {COUNTER, 15}, {SELFTEST, 200},
    };
    int set = opcode == SIGN     ? c->knobs.sign_ms
              : opcode == GENKEY ? c->knobs.genkey_ms
                                 : c->knobs.other_ms;
    for (size_t i = 0; !set && i < sizeof usual / sizeof *usual; i++)
        if (usual[i].opcode == opcode)
            set = usual[i].ms;
    return set;
}

void execute(struct chip *c, const uint8_t *packet, int length)
{
    if (length < 7 || packet[0] != length ||
        crc16(packet, length - 2) != (packet[length - 2] | packet[length - 1] << 8)) {
        c->counts.bad_crc++;
        answer_status(c, length < 7 || packet[0] != length ? PARSE : CRC);
        return;
    }
    int opcode = packet[1], p1 = packet[2], p2 = packet[3] | packet[4] << 8, given = length - 7;
    const uint8_t *data = packet + 5;
    c->counts.commands++;
    c->counts.opcode[opcode]++;
    if (c->knobs.mute_after && --c->knobs.mute_after == 0)
        c->knobs.mute = 1;
    c->ready_at = chip_now() + takes(c, opcode);
    if (c->knobs.refuse) {
        answer_status(c, (enum status)c->knobs.refuse);
        return;
    }
    uint8_t random[32];
    switch (opcode) {
    case READ: do_read(c, p1, p2); break;
    case WRITE: do_write(c, p1, p2, data, given); break;
    case NONCE: do_nonce(c, p1, data, given); break;
    case LOCK: do_lock(c, p1, p2); break;
    case RANDOM:
        random_bytes(c, random);
        answer(c, random, 32);
        break;
    case COUNTER: do_counter(c, p1, p2); break;
    case INFO: do_info(c, p1, p2); break;
    case GENKEY: do_genkey(c, p1, p2); break;
    case SIGN: do_sign(c, p1, p2); break;
    case ECDH: do_ecdh(c, p2, data, given); break;
    case VERIFY: do_verify(c, p1, p2, data, given); break;
    case SHA: do_sha(c, p1, p2, data, given); break;
    case SELFTEST: answer_status(c, OK); break;
    default: answer_status(c, PARSE);
    }
}
