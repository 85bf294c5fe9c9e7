/* A PKCS#11 module that never comes back from its first call, as one on a stuck bus does. */
#include <unistd.h>

unsigned long C_GetFunctionList(void **list)
{
	(void)list;
	for (;;)
		pause();
}
