/* What the shim and the emulator say to each other: one SOCK_SEQPACKET message for each thing done
 * on the bus. */
#ifndef ATECC608_BUS_H
#define ATECC608_BUS_H

#include <stdint.h>

enum { BUS_WRITE = 'W', BUS_READ = 'R', BUS_CONTROL = 'C' };

struct bus_request {
    uint8_t op;
    uint8_t address; /* seven bits */
    uint16_t length; /* of data for a write or a control text; wanted for a read */
    uint8_t data[512];
};

struct bus_reply {
    int32_t error; /* an errno, or 0 */
    uint16_t length;
    uint8_t data[4096];
};

#define BUS_SOCKET_ENV "ATECC608_SOCKET" /* the emulator's socket */
#define BUS_DEVICE_ENV "ATECC608_DEVICE" /* the path that is the bus; /dev/i2c-3 by default */

#endif
