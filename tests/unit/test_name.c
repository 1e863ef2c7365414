/* Names between a service and a folder. */
#include "cache/name.h"

#include "backends/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define E "\xe2\x90\x9b" /* U+241B */

static void hostile_names_are_escaped(void **state)
{
    static const struct {
        const char *raw, *shown;
    } table[] = {
        {"plain.stl", "plain.stl"},
        {"Größe 1:1 \xf0\x9f\x98\x80", "Größe 1:1 \xf0\x9f\x98\x80"},
        {"", E},
        {".", E "2E"},
        {"..", E "2E."},
        {"...", "..."},
        {".hidden", ".hidden"},
        {"a/b", "a" E "2Fb"},
        {"/", E "2F"},
        {"../x", ".." E "2Fx"},
        {"\xff", E "FF"},
        {"a\xc3", "a" E "C3"},
        {"\xc0\xaf", E "C0" E "AF"}, /* an overlong slash */
        {"\xed\xa0\x80", E "ED" E "A0" E "80"}, /* a surrogate */
        {E "2F", E "E2" E "90" E "9B" "2F"},
        {" lead and trail ", " lead and trail "},
        {"new\nline", "new\nline"},
    };
    char out[PM_NAME_MAX + 1];

    (void)state;
    for (size_t i = 0; i < PM_COUNT(table); i++) {
        pm_name_show(table[i].raw, out);
        assert_string_equal(out, table[i].shown);
    }
}

/* The raw name that a shown one, not cut, stands for. */
static void unescape(const char *s, char *out)
{
    unsigned byte;

    if (!strcmp(s, E)) {
        *out = 0;
        return;
    }
    while (*s) {
        if (!strncmp(s, E, 3) && sscanf(s + 3, "%2X", &byte) == 1) {
            *out++ = (char)byte;
            s += 5;
        } else {
            *out++ = *s++;
        }
    }
    *out = 0;
}

static void random_bytes(char *out, size_t max)
{
    static const char *const pieces[] = {"/", ".", E, "\xe2\x90", "\x9b", "a", "2F", "ü", "\xff",
                                         "\xf0\x9f\x98\x80", "\xf0\x9f", "#"};
    size_t                   len = 0;
    size_t                   want = (size_t)random() % max;

    while (len + 4 < want) {
        const char *p = pieces[(size_t)random() % PM_COUNT(pieces)];

        memcpy(out + len, p, strlen(p));
        len += strlen(p);
    }
    out[len] = 0;
}

static void escaping_is_reversible(void **state)
{
    char raw[64];
    char shown[PM_NAME_MAX + 1];
    char back[PM_NAME_MAX + 1];

    (void)state;
    srandom(2);
    for (int i = 0; i < 20000; i++) {
        random_bytes(raw, 20);
        pm_name_show(raw, shown);
        if (strlen(shown) == PM_NAME_MAX)
            continue;
        assert_true(pm_utf8_valid(shown));
        assert_null(strchr(shown, '/'));
        assert_true(*shown && strcmp(shown, ".") && strcmp(shown, ".."));
        unescape(shown, back);
        assert_string_equal(back, raw);
    }
}

static void long_names_are_cut_at_characters_and_stay_unique(void **state)
{
    static const char *const units[] = {"a", "ü", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "/"};
    char                     raw[1100];
    char                     one[PM_NAME_MAX + 1];
    char                     two[PM_NAME_MAX + 1];

    (void)state;
    for (size_t u = 0; u < PM_COUNT(units); u++) {
        for (size_t shift = 0; shift < 4; shift++) {
            size_t len = shift;

            memset(raw, 'x', shift);
            while (len + 8 < 1000) {
                memcpy(raw + len, units[u], strlen(units[u]));
                len += strlen(units[u]);
            }
            strcpy(raw + len, "1");
            pm_name_show(raw, one);
            strcpy(raw + len, "2");
            pm_name_show(raw, two);
            assert_true(strlen(one) <= PM_NAME_MAX);
            assert_true(strlen(one) > PM_NAME_MAX - 25);
            assert_true(pm_utf8_valid(one));
            assert_string_not_equal(one, two);
            pm_name_show(raw, one);
            assert_string_equal(one, two);
        }
    }
}

static void names_of_255_bytes_are_themselves_and_256_are_cut(void **state)
{
    char raw[300];
    char out[PM_NAME_MAX + 1];

    (void)state;
    memset(raw, 'a', sizeof(raw));
    raw[255] = 0;
    pm_name_show(raw, out);
    assert_string_equal(out, raw);
    raw[255] = 'a';
    raw[256] = 0;
    pm_name_show(raw, out);
    assert_int_equal(strlen(out), PM_NAME_MAX);
    assert_non_null(strstr(out, E "#"));
}

static void duplicates_differ_by_id_and_are_stable(void **state)
{
    char first[PM_NAME_MAX + 1];
    char one[PM_NAME_MAX + 1];
    char two[PM_NAME_MAX + 1];
    char raw[600];

    (void)state;
    memset(raw, 'b', sizeof(raw));
    raw[599] = 0;
    for (int i = 0; i < 2; i++) {
        const char *name = i ? raw : "same.stl";

        pm_name_show(name, first);
        pm_name_show_duplicate(name, "17", one);
        pm_name_show_duplicate(name, "18", two);
        assert_string_not_equal(one, two);
        assert_string_not_equal(one, first);
        assert_true(strlen(one) <= PM_NAME_MAX);
        pm_name_show_duplicate(name, "17", two);
        assert_string_equal(one, two);
    }
}

static void what_a_program_may_make(void **state)
{
    char long_name[300];
    static const struct {
        const char *name;
        int         err;
    } table[] = {
        {"a", 0}, {".hidden", 0}, {"ü.stl", 0}, {"a\\b:c*?", 0}, {"a\xff", -EILSEQ},
        {"\xc0\xaf", -EILSEQ}, {E, -EINVAL}, {"x" E "2F", -EINVAL}, {".Trash", -EPERM},
        {".Trash-1000", -EPERM}, {".Trashy", 0}, {"Trash", 0},
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(table); i++)
        assert_int_equal(pm_name_check(table[i].name), table[i].err);
    memset(long_name, 'n', sizeof(long_name));
    long_name[255] = 0;
    assert_int_equal(pm_name_check(long_name), 0);
    long_name[255] = 'n';
    long_name[256] = 0;
    assert_int_equal(pm_name_check(long_name), -ENAMETOOLONG);
}

static void temporary_names_are_known(void **state)
{
    static const char *const yes[] = {
        ".scan.e57.Ab3dE9", ".goutputstream-XYZ123", "a.part", "a.e57.partial", "x.crdownload",
        ".~lock.sheet.ods#", ".a.swp", "a.tmp", "a.lock", "tmp_obj_aB", "4913",
        "#scan.e57#", "tmp_pack_aB3dE9", "tmp_idx_aB3dE9",
    };
    static const char *const no[] = {
        "scan.e57.Ab3dE9", ".scan.e57", "a.partx", "part", "4913.stl", "a.swpx", "#1", "##", "1#", ".Ab3dE9",
        "goutputstream-X", "lock", "cube.fbx", ".hidden.abcdefg", "tmp",
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(yes); i++)
        if (!pm_name_is_temporary(yes[i]))
            fail_msg("%s is temporary", yes[i]);
    for (size_t i = 0; i < PM_COUNT(no); i++)
        if (pm_name_is_temporary(no[i]))
            fail_msg("%s is not temporary", no[i]);
}

static void backup_names_are_known(void **state)
{
    static const char *const yes[] = {
        "scan.e57~", "plan.bak", "plan.dwg.bak", "a.tmp", "plan_1_1_8246.sv$", "a.odt.osl-tmp",
        "robot.blend1", "robot.blend12", "part.FCStd1", "part.20261122-101500.FCBak",
    };
    static const char *const no[] = {
        "~", ".bak", "scan.e57", "plan.baked", "robot.blend", "part.FCStd", "blend1", "osl-tmp",
    };

    (void)state;
    for (size_t i = 0; i < PM_COUNT(yes); i++)
        if (!pm_name_is_backup(yes[i]))
            fail_msg("%s is a backup", yes[i]);
    for (size_t i = 0; i < PM_COUNT(no); i++)
        if (pm_name_is_backup(no[i]))
            fail_msg("%s is no backup", no[i]);
}

static void litter_is_known(void **state)
{
    static const char *const yes[] = {".DS_Store", "._cube.fbx", "Thumbs.db", "desktop.ini",
                                      ".directory"};
    static const char *const no[] = {"DS_Store", ".DS_Store2", "_a", "my desktop.ini", "cube",
                                     ".a._b"};

    (void)state;
    for (size_t i = 0; i < PM_COUNT(yes); i++)
        assert_true(pm_name_is_litter(yes[i]));
    for (size_t i = 0; i < PM_COUNT(no); i++)
        assert_false(pm_name_is_litter(no[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_names_are_escaped),
        cmocka_unit_test(escaping_is_reversible),
        cmocka_unit_test(long_names_are_cut_at_characters_and_stay_unique),
        cmocka_unit_test(names_of_255_bytes_are_themselves_and_256_are_cut),
        cmocka_unit_test(duplicates_differ_by_id_and_are_stable),
        cmocka_unit_test(what_a_program_may_make),
        cmocka_unit_test(temporary_names_are_known),
        cmocka_unit_test(backup_names_are_known),
        cmocka_unit_test(litter_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
