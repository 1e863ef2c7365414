/* signed.h: what is read from a storage host's addresses and answers, of Google's kind and its like
 * (api/notes.md 3): until when a signed URL is good, how the file behind it is called, what an error
 * says, what the content's digest is.
 *
 * All of it comes from outside. Plain functions without state, for any thread. */
#ifndef PM_BACKENDS_SIGNED_H
#define PM_BACKENDS_SIGNED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How long a URL that was signed just now, or a while ago, should be used from now on: until min(60 s,
 * half its life) before its end, by the server's clock, which is at `server_ms` (since 1970; 0: it did
 * not tell, and ours does not count). Both of Google's forms are known, and S3's; any other counts as one
 * that lives 5 minutes. 0: no more. */
int64_t pm_signed_use_ms(const char *url, int64_t server_ms);

/* A parameter of a URL's query, decoded, whatever the case of its name. Owned; NULL: there is none,
 * or it cannot be decoded. */
char *pm_signed_parameter(const char *url, const char *name);

/* The file name in a Content-Disposition: that in RFC 8187's form first. Owned, never "". NULL: none. */
char *pm_signed_disposition(const char *value);
/* What a URL says of its file's name: response-content-disposition, else the last segment of the path
 * if it has an extension. Owned, never ""; NULL: nothing. */
char *pm_signed_file_name(const char *url);

/* The word in <Code>…</Code> of an error's body, which may be cut; "": there is none. */
#define PM_SIGNED_CODE_MAX 64
void pm_signed_error(const char *body, size_t len, char out[PM_SIGNED_CODE_MAX]);

/* "crc32c=…" or else "md5=…" of an x-goog-hash header, as in struct pm_answer; "": neither. */
#define PM_SIGNED_DIGEST_MAX 40
void pm_signed_digest(const char *header, char out[PM_SIGNED_DIGEST_MAX]);

#endif
