/* For LD_PRELOAD: the first connections are aborted as they are taken. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags) {
    static int left = 200;
    int (*real)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
    int taken = real(listener, address, length, flags);
    if (taken >= 0 && left > 0) {
        left--;
        close(taken);
        errno = ECONNABORTED;
        return -1;
    }
    return taken;
}
