/* An ATECC608A by what it does on the bus. */
#ifndef ATECC608_CHIP_H
#define ATECC608_CHIP_H

#include <stdint.h>
#include <stdio.h>
#include <openssl/evp.h>

#define SLOTS 16

/* What survives a loss of power: the file --state names holds this struct. */
struct eeprom {
    char magic[8];
    uint8_t config[128];
    uint8_t otp[64];
    uint8_t data[SLOTS][416];
    uint8_t private_key[SLOTS][32];
    uint8_t has_key[SLOTS];
    uint32_t counter[2];
};

/* What a test may turn. */
struct knobs {
    int mute;       /* nothing is acknowledged: no chip, no power, a broken wire */
    int mute_after; /* becomes mute after so many commands more; 0: never */
    int khz;        /* bus clock; above 133 kHz an address of zeros is too short to wake the chip */
    int sign_ms, genkey_ms, other_ms; /* 0: as long as a chip usually takes */
    int watchdog_ms;                  /* awake so long, then asleep */
    int corrupt_every;                /* each n-th answer has a wrong CRC; 0: none */
    int refuse;   /* each command is answered with this status; 0: as it should be */
    int bus_time; /* take the time that the bits take */
};

struct counts {
    unsigned long transactions, wakes, wakes_ignored, sleeps, watchdogs, nacks, bad_crc, commands,
        opcode[256];
};

struct chip {
    struct eeprom rom;
    struct knobs knobs;
    struct counts counts;
    const char *path;
    enum { ASLEEP, IDLE, AWAKE } state;
    double awake_at, ready_at, dog_at;
    uint8_t out[256];
    int out_length, out_at;
    uint8_t temp_key[64], message[64], alternate[32];
    int temp_valid, message_valid;
    EVP_MD_CTX *sha;
};

double chip_now(void);
int chip_open(struct chip *, const char *path, int locked); /* 0, or -1 with a message on stderr */
void chip_power(struct chip *);                             /* off and on */
int chip_write(struct chip *, uint8_t address, const uint8_t *data,
               int length); /* 0, or an errno */
int chip_read(struct chip *, uint8_t address, uint8_t *data, int length);

#endif
