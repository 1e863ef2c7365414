#include "tests/emulator/sign.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOKEN_SIGNATURE_BYTES 384       /* makes the token about as long as a real one */

static void random_bytes(void *bytes, size_t len)
{
    if (RAND_bytes(bytes, (int)len) != 1)
        abort();
}

static void hex(const unsigned char *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

void sign_id(char id[25])
{
    unsigned char bytes[8];
    random_bytes(bytes, sizeof(bytes));
    snprintf(id, 9, "%08x", (unsigned)time(NULL));
    hex(bytes, sizeof(bytes), id + 8);
}

void sign_random_hex(char out[33])
{
    unsigned char bytes[16];
    random_bytes(bytes, sizeof(bytes));
    hex(bytes, sizeof(bytes), out);
}

static size_t base64url(const void *bytes, size_t len, char *out)
{
    size_t n = (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);
    while (n > 0 && out[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    out[n] = '\0';
    return n;
}

int secrets_make(struct secrets *s)
{
    static const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";
    char claims[128];
    unsigned char signature[TOKEN_SIGNATURE_BYTES];
    snprintf(claims, sizeof(claims), "{\"email\":\"%s\",\"iat\":%lld}", EMULATOR_EMAIL,
             (long long)time(NULL));
    random_bytes(s->key, sizeof(s->key));
    random_bytes(signature, sizeof(signature));
    sign_id(s->user_id);
    size_t n = base64url(header, strlen(header), s->token);
    s->token[n++] = '.';
    n += base64url(claims, strlen(claims), s->token + n);
    s->token[n++] = '.';
    base64url(signature, sizeof(signature), s->token + n);
    return 0;
}

static void signature_of(const struct secrets *s, const char *method, const char *path,
                         int64_t expires_s, char out[65])
{
    struct buf text = {0};
    unsigned char mac[32];
    unsigned len = sizeof(mac);
    buf_printf(&text, "%s\n%s\n%lld", method, path, (long long)expires_s);
    HMAC(EVP_sha256(), s->key, sizeof(s->key), (const unsigned char *)text.data, text.len, mac,
         &len);
    hex(mac, sizeof(mac), out);
    buf_free(&text);
}

void sign_query(const struct secrets *s, const char *method, const char *path, int64_t expires_s,
                struct buf *out)
{
    char signature[65];
    signature_of(s, method, path, expires_s, signature);
    buf_printf(out, "?Expires=%lld&Signature=%s", (long long)expires_s, signature);
}

int sign_check(const struct secrets *s, const char *method, const char *path, const char *query)
{
    char given[65];
    char right[65];
    long long expires = 0;
    int end = 0;
    if (sscanf(query, "Expires=%lld&Signature=%64[0-9a-f]%n", &expires, given, &end) != 2 ||
        query[end] != '\0' || strlen(given) != 64)
        return -EACCES;
    signature_of(s, method, path, expires, right);
    if (CRYPTO_memcmp(given, right, 64) != 0)
        return -EACCES;
    return time(NULL) >= expires ? -ETIME : 0;
}

static int add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    int ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok ? 0 : -EIO;
}

static int fill_certificate(X509 *cert, EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)time(NULL));
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 30L * 86400);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *)"polymount emulator", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    if (X509_set_pubkey(cert, key) != 1 ||
        add_extension(cert, NID_basic_constraints, "critical,CA:TRUE") < 0 ||
        add_extension(cert, NID_subject_key_identifier, "hash") < 0 ||
        add_extension(cert, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost") < 0)
        return -EIO;
    return X509_sign(cert, key, EVP_sha256()) > 0 ? 0 : -EIO;
}

static char *bio_text(BIO *bio)
{
    char *bytes = NULL;
    long len = BIO_get_mem_data(bio, &bytes);
    char *text = emu_alloc((size_t)len + 1);
    memcpy(text, bytes, (size_t)len);
    return text;
}

int sign_certificate(char **key_pem, char **cert_pem)
{
    int r = -EIO;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    BIO *key_out = BIO_new(BIO_s_mem());
    BIO *cert_out = BIO_new(BIO_s_mem());
    if (key == NULL || cert == NULL || key_out == NULL || cert_out == NULL ||
        fill_certificate(cert, key) < 0)
        goto out;
    if (PEM_write_bio_PrivateKey(key_out, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_X509(cert_out, cert) != 1)
        goto out;
    *key_pem = bio_text(key_out);
    *cert_pem = bio_text(cert_out);
    r = 0;
out:
    BIO_free(cert_out);
    BIO_free(key_out);
    X509_free(cert);
    EVP_PKEY_free(key);
    return r;
}
