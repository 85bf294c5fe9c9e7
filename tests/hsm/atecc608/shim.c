/*
 * LD_PRELOAD: the path ATECC608_DEVICE (/dev/i2c-3) is a bus with an emulated ATECC608 on it, which
 * listens on the Unix socket ATECC608_SOCKET. Intercepted: open, open64, ioctl(I2C_SLAVE), read,
 * write. A descriptor of the bus is the connection to the emulator, so close, dup and fork need no
 * help.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus.h"

#define DESCRIPTORS 4096

static uint8_t bus[DESCRIPTORS]; /* the address chosen on a descriptor, plus 1; 0: not the bus */

#define REAL(name)                                                                                 \
    ({                                                                                             \
        static __typeof__(&name) real_##name;                                                      \
        if (!real_##name)                                                                          \
            real_##name = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                              \
        real_##name;                                                                               \
    })

static int is_bus(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS && bus[fd] != 0;
}

static int names_bus(const char *path)
{
    const char *device = getenv(BUS_DEVICE_ENV);
    return path && getenv(BUS_SOCKET_ENV) && strcmp(path, device ? device : "/dev/i2c-3") == 0;
}

static int open_bus(void)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    strncpy(where.sun_path, getenv(BUS_SOCKET_ENV), sizeof where.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (fd >= DESCRIPTORS || connect(fd, (struct sockaddr *)&where, sizeof where) != 0) {
        int error = errno == EACCES ? EACCES : ENOENT;
        close(fd);
        errno = error;
        return -1;
    }
    bus[fd] = 1;
    return fd;
}

static ssize_t transfer(int fd, struct bus_request *request, void *into)
{
    struct bus_reply reply;
    size_t size =
        offsetof(struct bus_request, data) + (request->op == BUS_READ ? 0 : request->length);
    request->address = bus[fd] - 1;
    if (send(fd, request, size, MSG_NOSIGNAL) < 0 || recv(fd, &reply, sizeof reply, 0) <= 0) {
        errno = EIO;
        return -1;
    }
    if (reply.error) {
        errno = reply.error;
        return -1;
    }
    if (into)
        memcpy(into, reply.data, reply.length);
    return reply.length;
}

static int open_any(int (*real)(const char *, int, ...), const char *path, int flags, va_list rest)
{
    if (names_bus(path))
        return open_bus();
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    int fd = real(path, flags, mode);
    if (fd >= 0 && fd < DESCRIPTORS)
        bus[fd] = 0;
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    int fd = open_any(REAL(open), path, flags, rest);
    va_end(rest);
    return fd;
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    int fd = open_any(REAL(open64), path, flags, rest);
    va_end(rest);
    return fd;
}

int close(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        bus[fd] = 0;
    return REAL(close)(fd);
}

int ioctl(int fd, unsigned long what, ...)
{
    va_list rest;
    va_start(rest, what);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (!is_bus(fd))
        return REAL(ioctl)(fd, what, argument);
    unsigned long address = (unsigned long)argument;
    if (what != I2C_SLAVE && what != I2C_SLAVE_FORCE) {
        errno = ENOTTY;
        return -1;
    }
    if (address > 0x7f) {
        errno = EINVAL;
        return -1;
    }
    /* What the kernel says where a driver of its own (atmel-ecc) has the chip. */
    const char *taken = getenv("ATECC608_KERNEL_DRIVER");
    if (what == I2C_SLAVE && address != 0 && taken && strtoul(taken, NULL, 16) == address) {
        errno = EBUSY;
        return -1;
    }
    bus[fd] = (uint8_t)(address + 1);
    return 0;
}

ssize_t write(int fd, const void *data, size_t length)
{
    if (!is_bus(fd))
        return REAL(write)(fd, data, length);
    struct bus_request request = {.op = BUS_WRITE, .length = (uint16_t)length};
    if (length > sizeof request.data) {
        errno = EMSGSIZE;
        return -1;
    }
    memcpy(request.data, data, length);
    return transfer(fd, &request, NULL);
}

ssize_t read(int fd, void *data, size_t length)
{
    if (!is_bus(fd))
        return REAL(read)(fd, data, length);
    struct bus_request request = {.op = BUS_READ,
                                  .length = (uint16_t)(length > 512 ? 512 : length)};
    return transfer(fd, &request, data);
}
