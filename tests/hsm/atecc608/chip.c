/* The chip on its bus: awake, asleep, busy; and what it keeps without power. */
#include "inside.h"

#include <errno.h>
#include <string.h>
#include <time.h>

double chip_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

uint16_t crc16(const uint8_t *data, int length)
{
    uint16_t crc = 0;
    for (int i = 0; i < length; i++)
        for (int bit = 0; bit < 8; bit++) {
            int in = data[i] >> bit & 1, top = crc >> 15;
            crc = (uint16_t)(crc << 1);
            if (in != top)
                crc ^= 0x8005;
        }
    return crc;
}
void save(const struct chip *c)
{
    char new[4096];
    snprintf(new, sizeof new, "%s.new", c->path);
    FILE *file = fopen(new, "wb");
    if (!file || fwrite(&c->rom, sizeof c->rom, 1, file) != 1 || fclose(file) != 0 ||
        rename(new, c->path) != 0)
        perror(c->path);
}

/* The answer is a status byte or data; each goes out with its length and checksum. */
void answer(struct chip *c, const uint8_t *data, int length)
{
    c->out[0] = (uint8_t)(length + 3);
    memcpy(c->out + 1, data, (size_t)length);
    uint16_t crc = crc16(c->out, length + 1);
    if (c->knobs.corrupt_every && c->counts.commands % (unsigned long)c->knobs.corrupt_every == 0)
        crc ^= 0x0101;
    c->out[length + 1] = (uint8_t)crc;
    c->out[length + 2] = (uint8_t)(crc >> 8);
    c->out_length = length + 3;
    c->out_at = 0;
}

void answer_status(struct chip *c, enum status status)
{
    uint8_t byte = (uint8_t)status;
    answer(c, &byte, 1);
}
static void forget(struct chip *c)
{
    c->state = ASLEEP;
    c->temp_valid = c->message_valid = 0;
    c->out_length = 0;
}

static void pass_time(struct chip *c, int address, int length)
{
    double now = chip_now();
    if (c->state == AWAKE && now > c->dog_at) {
        c->counts.watchdogs++;
        forget(c);
    }
    c->counts.transactions++;
    if (c->knobs.bus_time) {
        /* A start, an address and each byte with its acknowledgement. */
        double us = (9.0 * (length + 1) + 2) * 1000 / c->knobs.khz;
        struct timespec t = {0, (long)(us * 1000)};
        if (address >= 0)
            nanosleep(&t, NULL);
    }
}

static int nack(struct chip *c)
{
    c->counts.nacks++;
    return EREMOTEIO;
}

static void wake(struct chip *c)
{
    if (c->state == AWAKE || c->knobs.mute || c->knobs.khz > 133) {
        c->counts.wakes_ignored++;
        return;
    }
    c->counts.wakes++;
    c->state = AWAKE;
    c->awake_at = c->ready_at = chip_now() + 1.5;
    c->dog_at = chip_now() + c->knobs.watchdog_ms;
    answer_status(c, AFTER_WAKE);
}

static int hears(struct chip *c, int address)
{
    return !c->knobs.mute && c->state == AWAKE && address == c->rom.config[16] >> 1 &&
           chip_now() >= c->ready_at;
}

int chip_write(struct chip *c, uint8_t address, const uint8_t *data, int length)
{
    int heard = hears(c, address);
    pass_time(c, address, heard ? length : 0);
    if (address == 0) {
        wake(c); /* eight low bits: nobody acknowledges them */
        return nack(c);
    }
    if (!heard || !hears(c, address) || length < 1)
        return nack(c);
    switch (data[0]) {
    case 0x00: c->out_at = 0; return 0;
    case 0x01:
        c->counts.sleeps++;
        forget(c);
        return 0;
    case 0x02:
        c->state = IDLE; /* what it has in memory stays */
        c->out_length = 0;
        return 0;
    case 0x03: execute(c, data + 1, length - 1); return 0;
    default: return nack(c);
    }
}

int chip_read(struct chip *c, uint8_t address, uint8_t *data, int length)
{
    int heard = hears(c, address);
    pass_time(c, address, heard ? length : 0);
    if (!heard || !hears(c, address))
        return nack(c);
    for (int i = 0; i < length; i++)
        data[i] = c->out_at < c->out_length ? c->out[c->out_at++] : 0xff;
    return 0;
}

void chip_power(struct chip *c)
{
    forget(c);
}

/* Slots 0 to 4 hold P-256 private keys that sign; 0 cannot be made anew, as in a chip that comes
 * with its key. */
static void factory(struct chip *c, int locked)
{
    static const uint8_t serial[] = {0x01, 0x23, 0x5a, 0x1d, 0x4c, 0x77, 0x90, 0x3e, 0xee};
    uint8_t *config = c->rom.config;
    memset(&c->rom, 0, sizeof c->rom);
    memcpy(c->rom.magic, "ATECC608", 8);
    memcpy(config, serial, 4);
    memcpy(config + 4, (const uint8_t[]){0x00, 0x00, 0x60, 0x02}, 4);
    memcpy(config + 8, serial + 4, 5);
    config[13] = 0x01;
    config[14] = 0x01; /* I2C, not one wire */
    config[16] = 0xc0;
    for (int slot = 0; slot < SLOTS; slot++) {
        int key = slot < 5;
        config[20 + 2 * slot] = key ? 0x87 : 0x0f;
        config[21 + 2 * slot] = slot == 0 ? 0x00 : key ? 0x20 : 0x00;
        config[96 + 2 * slot] = key ? 0x33 : slot == 15 ? 0x30 : 0x3c;
    }
    memset(config + 52, 0xff, 4);
    memset(config + 60, 0xff, 4);
    config[LOCK_DATA] = locked ? 0 : 0x55;
    config[LOCK_CONFIG] = locked ? 0 : 0x55;
    config[LOCK_SLOTS] = config[LOCK_SLOTS + 1] = 0xff;
    if (locked)
        new_key(c, 0);
}

int chip_open(struct chip *c, const char *path, int locked)
{
    memset(c, 0, sizeof *c);
    c->path = path;
    c->knobs = (struct knobs){.khz = 100, .watchdog_ms = 1300, .bus_time = 1};
    c->sha = EVP_MD_CTX_new();
    FILE *file = fopen(path, "rb");
    if (!file) {
        factory(c, locked);
        save(c);
        return 0;
    }
    int good =
        fread(&c->rom, sizeof c->rom, 1, file) == 1 && memcmp(c->rom.magic, "ATECC608", 8) == 0;
    fclose(file);
    if (!good)
        fprintf(stderr, "%s: not a chip's state\n", path);
    return good ? 0 : -1;
}
