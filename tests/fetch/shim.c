/* A PKCS#11 module for tests: SoftHSM, but for what SHIM tells it to do wrong. Logins go to SHIM_LOG. */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long rv;

/* CK_FUNCTION_LIST: the functions stand in the order of the standard. */
struct list {
    unsigned char version[2];
    void *function[68];
};
enum { INITIALIZE = 0, FINALIZE = 1, GET_SLOT_LIST = 4, GET_TOKEN_INFO = 6, LOGIN = 18, SIGN = 43 };

static struct list *real, ours;

static int told(const char *what) {
    const char *shim = getenv("SHIM");
    return shim && strcmp(shim, what) == 0;
}

static void note(const char *what) {
    FILE *log = fopen(getenv("SHIM_LOG"), "a");
    if (log) {
        fprintf(log, "%s\n", what);
        fclose(log);
    }
}

static rv initialize(void *arguments) {
    note("C_Initialize");
    if (told("hang")) {
        /* As a wedged bus does; a child of its own goes on as well. */
        char line[64];
        fork();
        sprintf(line, "hangs %d", (int)getpid());
        note(line);
        for (;;) pause();
    }
    if (told("fork") || told("fork-and-abort")) {
        /* A helper, as some vendors' modules start one. It has all that its parent has, and goes on. */
        char line[64];
        pid_t helper = fork();
        if (helper == 0) for (;;) pause();
        sprintf(line, "helper %d", (int)helper);
        note(line);
    }
    if (told("abort") || told("fork-and-abort")) abort();
    if (told("segv")) *(volatile int *)0 = 0;
    if (told("exit")) _exit(3);
    if (told("no-start")) {
        fprintf(stderr, "looking\nno chip\n");
        return 0x30; /* CKR_DEVICE_ERROR */
    }
    if (told("bad-arguments")) return 0x7;
    if (told("noise")) {
        for (int i = 0; i < 20000; i++) {
            printf("{\"stdout\": %d}\n", i);
            fprintf(stderr, "stderr %d\n", i);
        }
        fflush(stdout);
    }
    return ((rv(*)(void *))real->function[INITIALIZE])(arguments);
}

static rv finalize(void *reserved) {
    rv result = ((rv(*)(void *))real->function[FINALIZE])(reserved);
    note("C_Finalize");
    if (told("abort-at-end")) abort();
    if (told("hang-at-end")) for (;;) pause();
    return result;
}

static rv get_slot_list(unsigned char with_token, rv *slots, rv *count) {
    if (told("slots-abort")) abort();
    if (told("slots-fault")) return 0x30;
    if (told("no-slots")) {
        *count = 0;
        return 0;
    }
    return ((rv(*)(unsigned char, rv *, rv *))real->function[GET_SLOT_LIST])(with_token, slots, count);
}

/* Since the process began. */
static int refused;

static rv get_token_info(rv slot, unsigned char *info) {
    if (told("info-fault")) return 0x30;
    rv result = ((rv(*)(rv, unsigned char *))real->function[GET_TOKEN_INFO])(slot, info);
    /* The flags stand after label, manufacturer, model and serial number; CKF_USER_PIN_LOCKED. */
    rv *flags = (rv *)(info + 96);
    if (result == 0 && (told("token-locked") || (told("pin-locked-for-good") && refused))) *flags |= 0x40000;
    if (result == 0 && told("login-refused-abort")) *flags |= 0x10000; /* CKF_USER_PIN_COUNT_LOW */
    if (result == 0 && told("blank")) *flags &= ~0x400ul; /* CKF_TOKEN_INITIALIZED */
    return result;
}

static rv login(rv session, rv user, unsigned char *pin, rv length) {
    note("C_Login");
    if (told("print-pin")) fprintf(stderr, "PIN is %.*s\n", (int)length, pin);
    if (told("pin-locked")) return 0xa4;
    if (told("pin-locked-for-good")) {
        refused = 1;
        return 0xa4;
    }
    if (told("login-refused-abort")) abort();
    if (told("pin-expired")) return 0xa3;
    if (told("pin-length")) return 0xa2;
    if (told("no-user-pin")) return 0x102;
    if (told("login-fault")) return 0x30;
    if (told("login-abort")) abort();
    if (told("login-hang")) for (;;) pause();
    return ((rv(*)(rv, rv, unsigned char *, rv))real->function[LOGIN])(session, user, pin, length);
}

static rv sign(rv session, unsigned char *data, rv length, unsigned char *signature, rv *signature_length) {
    if (told("sign-fault")) return 0x30;
    return ((rv(*)(rv, unsigned char *, rv, unsigned char *, rv *))real->function[SIGN])(
        session, data, length, signature, signature_length);
}

rv C_GetFunctionList(struct list **list) {
    if (!real) {
        void *softhsm = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
        rv (*get)(struct list **) = softhsm ? (rv(*)(struct list **))dlsym(softhsm, "C_GetFunctionList") : 0;
        if (!get || get(&real) != 0) return 5;
        ours = *real;
        ours.function[INITIALIZE] = initialize;
        ours.function[FINALIZE] = finalize;
        ours.function[GET_SLOT_LIST] = get_slot_list;
        ours.function[GET_TOKEN_INFO] = get_token_info;
        ours.function[LOGIN] = login;
        ours.function[SIGN] = sign;
    }
    *list = &ours;
    return 0;
}
