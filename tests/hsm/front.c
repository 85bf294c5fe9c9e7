/*
 * A PKCS#11 module in front of the one that FRONT_MODULE names. It writes down in FRONT_LOG each login and signature, and
 * whether the process lives on after a signature. FRONT says what it does besides:
 *
 *   die-in-sign    ends the process in the middle of a signature, FRONT_US microseconds after its begin
 *   die-in-login   ends it in the login, once the token has seen the PIN
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

typedef unsigned long rv;

/* CK_FUNCTION_LIST: the functions stand in the order of the standard. */
struct list {
    unsigned char version[2];
    void *function[68];
};
enum { GET_FUNCTION_LIST = 3, LOGIN = 18, SIGN = 43, SIGN_FINAL = 45 };

static struct list *real, ours;

static int told(const char *what)
{
    const char *front = getenv("FRONT");
    return front && strcmp(front, what) == 0;
}

static void note(const char *what)
{
    FILE *log = fopen(getenv("FRONT_LOG"), "a");
    if (log) {
        fprintf(log, "%s\n", what);
        fclose(log);
    }
}

static rv login(rv session, rv user, unsigned char *pin, rv length)
{
    note("C_Login");
    rv (*next)(rv, rv, unsigned char *, rv) = (rv(*)(rv, rv, unsigned char *, rv))real->function[LOGIN];
    rv answer = next(session, user, pin, length);
    if (told("die-in-login"))
        raise(SIGKILL);
    return answer;
}

static void signature_begins(void)
{
    note("C_Sign");
    if (told("die-in-sign")) {
        /* SIGALRM, which nobody handles. */
        const char *us = getenv("FRONT_US");
        struct itimerval soon = {{0, 0}, {0, us ? atol(us) : 500}};
        setitimer(ITIMER_REAL, &soon, NULL);
    }
}

static void signature_ends(void)
{
    if (told("die-in-sign"))
        raise(SIGKILL);
    note("signed");
}

static rv sign(rv session, unsigned char *data, rv length, unsigned char *signature, rv *size)
{
    signature_begins();
    rv (*next)(rv, unsigned char *, rv, unsigned char *, rv *) =
        (rv(*)(rv, unsigned char *, rv, unsigned char *, rv *))real->function[SIGN];
    rv answer = next(session, data, length, signature, size);
    signature_ends();
    return answer;
}

/* OpenSSL's provider lets a token hash as well, where it can. */
static rv sign_final(rv session, unsigned char *signature, rv *size)
{
    signature_begins();
    rv (*next)(rv, unsigned char *, rv *) =
        (rv(*)(rv, unsigned char *, rv *))real->function[SIGN_FINAL];
    rv answer = next(session, signature, size);
    signature_ends();
    return answer;
}

rv C_GetFunctionList(struct list **list)
{
    if (!real) {
        void *module = dlopen(getenv("FRONT_MODULE"), RTLD_NOW);
        rv (*get)(struct list **) =
            module ? (rv(*)(struct list **))dlsym(module, "C_GetFunctionList") : 0;
        if (!get || get(&real) != 0)
            return 5;
        ours = *real;
        ours.function[GET_FUNCTION_LIST] = C_GetFunctionList;
        ours.function[LOGIN] = login;
        ours.function[SIGN] = sign;
        ours.function[SIGN_FINAL] = sign_final;
    }
    *list = &ours;
    return 0;
}
