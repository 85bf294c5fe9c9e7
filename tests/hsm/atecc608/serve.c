/*
 * atecc608 serve --socket S --state F [--blank] [--trace T]: an emulated ATECC608A, to which the
 * shim speaks. atecc608 ctl S [NAME VALUE | NAME=VALUE]...: turns a knob of struct knobs, or:
 * power, reset, counts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus.h"
#include "chip.h"

#define CLIENTS 256

static FILE *trace;

static struct sockaddr_un name(const char *path)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    strncpy(where.sun_path, path, sizeof where.sun_path - 1);
    return where;
}

static void record(int fd, const struct bus_request *request, const struct bus_reply *reply)
{
    struct ucred who = {0};
    socklen_t size = sizeof who;
    if (!trace)
        return;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size);
    fprintf(trace, "%.3f %d %c %02x", chip_now(), who.pid, request->op, request->address);
    const uint8_t *data = request->op == BUS_WRITE ? request->data : reply->data;
    for (int i = 0; i < (request->op == BUS_WRITE ? request->length : reply->length); i++)
        fprintf(trace, "%s%02x", i ? "" : " ", data[i]);
    fprintf(trace, "%s\n", reply->error ? " NACK" : "");
    fflush(trace);
}

static int *knob(struct knobs *k, const char *word)
{
    const struct {
        const char *name;
        int *value;
    } all[] = {
        {"mute", &k->mute},
        {"mute_after", &k->mute_after},
        {"khz", &k->khz},
        {"sign_ms", &k->sign_ms},
        {"genkey_ms", &k->genkey_ms},
        {"other_ms", &k->other_ms},
        {"watchdog_ms", &k->watchdog_ms},
        {"corrupt_every", &k->corrupt_every},
        {"refuse", &k->refuse},
        {"bus_time", &k->bus_time},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, word) == 0)
            return all[i].value;
    return NULL;
}

static void control(struct chip *chip, char *text, struct bus_reply *reply)
{
    char *at = (char *)reply->data, *rest = NULL;
    size_t left = sizeof reply->data;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        if (value)
            *value++ = 0;
        int *set = value ? knob(&chip->knobs, word) : NULL;
        int n = 0;
        if (set) {
            *set = (int)strtol(value, NULL, 0);
        } else if (strcmp(word, "power") == 0) {
            chip_power(chip);
        } else if (strcmp(word, "reset") == 0) {
            memset(&chip->counts, 0, sizeof chip->counts);
        } else if (strcmp(word, "counts") == 0) {
            const struct counts *c = &chip->counts;
            n = snprintf(at, left,
                         "transactions %lu wakes %lu ignored %lu sleeps %lu watchdogs %lu nacks "
                         "%lu bad_crc %lu commands %lu",
                         c->transactions, c->wakes, c->wakes_ignored, c->sleeps, c->watchdogs,
                         c->nacks, c->bad_crc, c->commands);
            for (int i = 0; i < 256; i++)
                if (c->opcode[i])
                    n += snprintf(at + n, left - (size_t)n, " %02x:%lu", i, c->opcode[i]);
            n += snprintf(at + n, left - (size_t)n, "\n");
        } else {
            n = snprintf(at, left, "unknown: %s\n", word);
            reply->error = EINVAL;
        }
        at += n;
        left -= (size_t)n;
    }
    reply->length = (uint16_t)(at - (char *)reply->data);
}

/* 0 once the client has gone. */
static int serve_one(struct chip *chip, int fd)
{
    struct bus_request request = {0};
    struct bus_reply reply = {0};
    ssize_t got = recv(fd, &request, sizeof request, 0);
    if (got < (ssize_t)offsetof(struct bus_request, data) || request.length > sizeof request.data)
        return 0;
    if (request.op == BUS_WRITE) {
        reply.error = chip_write(chip, request.address, request.data, request.length);
        if (!reply.error)
            reply.length = request.length;
    } else if (request.op == BUS_READ) {
        reply.error = chip_read(chip, request.address, reply.data, request.length);
        if (!reply.error)
            reply.length = request.length;
    } else if (request.op == BUS_CONTROL) {
        request
            .data[request.length < sizeof request.data ? request.length : sizeof request.data - 1] =
            0;
        control(chip, (char *)request.data, &reply);
    }
    if (request.op != BUS_CONTROL)
        record(fd, &request, &reply);
    /* A write's answer is its length only. */
    size_t size = offsetof(struct bus_reply, data) + (request.op == BUS_WRITE ? 0 : reply.length);
    return send(fd, &reply, size, MSG_NOSIGNAL) >= 0;
}

static int serve(const char *socket_path, const char *state, int locked)
{
    static struct chip chip;
    struct pollfd fds[CLIENTS];
    struct sockaddr_un where = name(socket_path);
    int count = 1;
    if (chip_open(&chip, state, locked) != 0)
        return 1;
    unlink(socket_path);
    fds[0] = (struct pollfd){socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), POLLIN, 0};
    if (bind(fds[0].fd, (struct sockaddr *)&where, sizeof where) != 0 ||
        listen(fds[0].fd, 64) != 0) {
        perror(socket_path);
        return 1;
    }
    chmod(socket_path, 0660);
    for (;;) {
        if (poll(fds, (nfds_t)count, -1) < 0 && errno != EINTR)
            return 1;
        for (int i = count - 1; i > 0; i--)
            if (fds[i].revents && !serve_one(&chip, fds[i].fd)) {
                close(fds[i].fd);
                fds[i] = fds[--count];
            }
        if (fds[0].revents && count < CLIENTS) {
            int fd = accept4(fds[0].fd, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0)
                fds[count++] = (struct pollfd){fd, POLLIN, 0};
        }
    }
}

static int ctl(const char *socket_path, int count, char **words)
{
    struct sockaddr_un where = name(socket_path);
    struct bus_request request = {.op = BUS_CONTROL};
    struct bus_reply reply = {0};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    for (int i = 0; i < count; i++)
        request.length = (uint16_t)(request.length + snprintf((char *)request.data + request.length,
                                                              sizeof request.data - request.length,
                                                              "%s ", words[i]));
    if (connect(fd, (struct sockaddr *)&where, sizeof where) != 0 ||
        send(fd, &request, offsetof(struct bus_request, data) + request.length, 0) < 0 ||
        recv(fd, &reply, sizeof reply, 0) <= 0) {
        perror(socket_path);
        return 1;
    }
    fwrite(reply.data, 1, reply.length, stdout);
    return reply.error != 0;
}

int main(int argc, char **argv)
{
    const char *socket_path = NULL, *state = NULL;
    int locked = 1;
    if (argc >= 3 && strcmp(argv[1], "ctl") == 0)
        return ctl(argv[2], argc - 3, argv + 3);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--blank") == 0)
            locked = 0;
        else if (i + 1 < argc && strcmp(argv[i], "--socket") == 0)
            socket_path = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--state") == 0)
            state = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--trace") == 0)
            trace = fopen(argv[++i], "a");
    }
    if (argc < 2 || strcmp(argv[1], "serve") != 0 || !socket_path || !state) {
        fprintf(
            stderr,
            "usage: atecc608 serve --socket S --state F [--blank] [--trace T] | ctl S WORD...\n");
        return 2;
    }
    return serve(socket_path, state, locked);
}
