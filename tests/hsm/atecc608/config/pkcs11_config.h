/* What cryptoauthlib's own build would make from pkcs11_config.h.in, with its defaults. */
#ifndef PKCS11_CONFIG_H_
#define PKCS11_CONFIG_H_

#include <stddef.h>
#include "pkcs11/cryptoki.h"

#define PKCS11_AUTH_TERMINATE_BEFORE_LOGIN 0
#define PKCS11_AUTO_ID_ENABLE 1
#define PKCS11_DEBUG_ENABLE 0
#define PKCS11_EXTERNAL_FUNCTION_LIST 0
#define PKCS11_LOCK_PIN_SLOT 0
#define PKCS11_MONOTONIC_ENABLE 0
#define PKCS11_RSA_SUPPORT_ENABLE 0
#define PKCS11_TOKEN_INIT_SUPPORT 0
#define PKCS11_USE_STATIC_CONFIG 0
#define PKCS11_USE_STATIC_MEMORY 0
#define PKCS11_MAX_CERTS_CACHED 5U
#define PKCS11_MAX_CONFIG_ALLOWED 7U
#define PKCS11_MAX_KEYS_CACHED 5U
#define PKCS11_MAX_LABEL_SIZE 30U
#define PKCS11_MAX_OBJECTS_ALLOWED 16U
#define PKCS11_MAX_SESSIONS_ALLOWED 10U
#define PKCS11_MAX_SLOTS_ALLOWED 1U
#define PKCS11_SEARCH_CACHE_SIZE 250
#define MAX_CONF_FILES (PKCS11_MAX_SLOTS_ALLOWED * PKCS11_MAX_OBJECTS_ALLOWED)
#define MAX_CONF_FILE_NAME_SIZE 15

/* The functions of pkcs11_config.c. */
typedef struct pkcs11_lib_ctx_s *pkcs11_lib_ctx_ptr;
typedef struct pkcs11_object_s *pkcs11_object_ptr;
typedef struct pkcs11_slot_ctx_s *pkcs11_slot_ctx_ptr;

CK_RV pkcs11_config_load(pkcs11_slot_ctx_ptr);
CK_RV pkcs11_config_load_objects(pkcs11_slot_ctx_ptr);
CK_RV pkcs11_config_cert(pkcs11_lib_ctx_ptr, pkcs11_slot_ctx_ptr, pkcs11_object_ptr,
                         CK_ATTRIBUTE_PTR);
CK_RV pkcs11_config_key(pkcs11_lib_ctx_ptr, pkcs11_slot_ctx_ptr, pkcs11_object_ptr,
                        CK_ATTRIBUTE_PTR);
CK_RV pkcs11_config_remove_object(pkcs11_lib_ctx_ptr, pkcs11_slot_ctx_ptr, pkcs11_object_ptr);
void pkcs11_config_init_cert(pkcs11_object_ptr, const char *, size_t);
void pkcs11_config_init_private(pkcs11_object_ptr, const char *, size_t);
void pkcs11_config_init_public(pkcs11_object_ptr, const char *, size_t);
void pkcs11_config_init_secret(pkcs11_object_ptr, const char *, size_t, size_t);
void pkcs11_config_split_string(char *, char, int *, char *[]);

#endif
