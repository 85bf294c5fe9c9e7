/* P-256 keys, by OpenSSL. */
#include "inside.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>

EVP_PKEY *key_of(const uint8_t *private_key, const uint8_t *public_key)
{
    uint8_t point[65] = {POINT_CONVERSION_UNCOMPRESSED};
    BIGNUM *secret = NULL;
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
    if (private_key) {
        EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
        EC_POINT *public = EC_POINT_new(group);
        secret = BN_bin2bn(private_key, 32, NULL);
        EC_POINT_mul(group, public, secret, NULL, NULL, NULL);
        EC_POINT_point2oct(group, public, POINT_CONVERSION_UNCOMPRESSED, point, sizeof point, NULL);
        EC_POINT_free(public);
        EC_GROUP_free(group);
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, secret);
    } else {
        memcpy(point + 1, public_key, 64);
    }
    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point);
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, private_key ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
                          parameters) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(build);
    BN_free(secret);
    return key;
}

int public_of(EVP_PKEY *key, uint8_t *xy)
{
    uint8_t point[65];
    size_t length = 0;
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point,
                                        sizeof point, &length) != 1 ||
        length != sizeof point)
        return -1;
    memcpy(xy, point + 1, 64);
    return 0;
}

int new_private_key(uint8_t *private_key)
{
    BIGNUM *secret = NULL;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    int made = key && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &secret) == 1;
    if (made)
        BN_bn2binpad(secret, private_key, 32);
    BN_clear_free(secret);
    EVP_PKEY_free(key);
    return made ? 0 : -1;
}
