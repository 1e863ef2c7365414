/* What 360-for-you makes of a file's name: flat, plain characters, the extension in lower case. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "tests/emulator/three_sixty_call.h"

#define STEM_MAX 100
#define EDGES "._-"

static bool plain(unsigned char c)
{
    return c < 0x80 && (isalnum(c) || strchr(EDGES, c) != NULL) && c != '\0';
}

/* Bytes of the UTF-8 character that begins here; 0 if none does. */
static size_t wide(const char *p, size_t len)
{
    for (size_t n = 2; n <= 4 && n <= len; n++)
        if (((unsigned char)p[0] & 0x80) != 0 && utf8_valid(p, n))
            return n;
    return 0;
}

static void flatten_into(const char *flatten, const char *raw, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len; i++) {
        size_t n = wide(raw + i, len - i);
        if (plain((unsigned char)raw[i])) {
            buf_add(out, raw + i, 1);
        } else if (n > 0 && strcmp(flatten, "utf8") == 0) {
            buf_add(out, raw + i, n);
        } else if (strcmp(flatten, "underscore") == 0) {
            buf_puts(out, "_");
        }
        i += n > 0 ? n - 1 : 0;
    }
    buf_add(out, "", 0);
}

void three_sixty_name(const char *flatten, const char *raw, size_t len, char out[256])
{
    struct buf flat = {0};
    char extension[64] = "";
    flatten_into(flatten, raw, len, &flat);
    char *stem = flat.data;
    char *dot = strrchr(stem, '.');
    if (dot != NULL && strlen(dot) < sizeof(extension)) {
        for (size_t i = 0; dot[i] != '\0'; i++)
            extension[i] = (char)tolower((unsigned char)dot[i]);
        *dot = '\0';
    }
    stem += strspn(stem, EDGES);
    size_t n = strlen(stem);
    while (n > 0 && strchr(EDGES, stem[n - 1]) != NULL)
        n--;
    n = n < STEM_MAX ? n : STEM_MAX;
    while (n > 0 && !utf8_valid(stem, n))
        n--;
    snprintf(out, 256, "%.*s%s", (int)n, stem, n > 0 ? extension : "");
    buf_free(&flat);
}

const char *three_sixty_extension(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL ? dot + 1 : "";
}

bool three_sixty_listed(const char *comma_list, const char *word)
{
    for (const char *p = comma_list; *word != '\0' && *p != '\0';) {
        size_t len = strcspn(p, ",");
        if (len == strlen(word) && strncmp(p, word, len) == 0)
            return true;
        p += len + (p[len] == ',');
    }
    return false;
}
