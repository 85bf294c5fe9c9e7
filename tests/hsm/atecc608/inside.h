/* What the chip's own files share. */
#ifndef ATECC608_INSIDE_H
#define ATECC608_INSIDE_H

#include "chip.h"

enum status {
    OK = 0x00,
    MISCOMPARE = 0x01,
    PARSE = 0x03,
    EXECUTION = 0x0f,
    AFTER_WAKE = 0x11,
    CRC = 0xff
};

/* Where the configuration says what is locked: 0x55 is open. */
#define LOCK_DATA 86
#define LOCK_CONFIG 87
#define LOCK_SLOTS 88

/* chip.c */
uint16_t crc16(const uint8_t *data, int length);
void save(const struct chip *);
void answer(struct chip *, const uint8_t *data, int length);
void answer_status(struct chip *, enum status);

/* commands.c */
void execute(struct chip *, const uint8_t *packet, int length);
int new_key(struct chip *, int slot); /* 0, or -1 */

/* keys.c; a key is freed by the caller, and NULL where there is none. */
EVP_PKEY *key_of(const uint8_t *private_key, const uint8_t *public_key);
int public_of(EVP_PKEY *, uint8_t *xy);
int new_private_key(uint8_t *private_key);

#endif
