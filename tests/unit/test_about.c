/* What people and scripts see of drafts and of what was made of them: status, attributes, links. */
#include "tests/unit/cache_env.h"

#include "cache/record.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct env     e;
static struct pm_attr attr;

static int setup(void **state)
{
    (void)state;
    env_init(&e);
    e.accounts[0].type = (char *)"memory-draft";
    e.conf.delay_ms = 5;
    env_open(&e);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    env_close(&e);
    return 0;
}

static pm_node publish(const char *name)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    pm_node                       d = env_mkdir(&e, e.root, name);

    env_write(&e, d, "a b.jpg", "content");
    assert_int_equal(pm_publish(e.c, d, &why), 0);
    assert_int_equal(pm_publish_wait(e.c, d, NULL, NULL, &why), 0);
    return d;
}

/* The first one has "slug-2" there: the session was number 1. */
#define SLUG "slug-2"
#define ID   "p2"

struct wanted {
    bool        json;
    pm_node     refresh; /* its record is got anew at each look: one under way may have been asked for before */
    const char *text;
    char        got[8192];
};

static bool status_has(void *arg)
{
    struct wanted                *x = arg;
    PM_AUTO(pm_buf) struct pm_buf b = {0};

    if (x->refresh)
        pm_record_refresh(e.c, x->refresh);
    assert_int_equal(x->json ? pm_info_json(e.c, &b) : pm_info_text(e.c, 0, &b), 0);
    snprintf(x->got, sizeof(x->got), "%s", b.ptr);
    return strstr(b.ptr, x->text) != NULL;
}

static void status_tells(const char *text)
{
    struct wanted x = {.text = text};

    if (!env_until(status_has, &x))
        fail_msg("status does not tell '%s': %s", text, x.got);
}

static void json_tells(const char *text)
{
    struct wanted x = {.json = true, .text = text};

    if (!env_until(status_has, &x))
        fail_msg("status does not tell '%s': %s", text, x.got);
}

static void status_is_silent_of(const char *text)
{
    struct wanted x = {.text = text};

    if (status_has(&x))
        fail_msg("status tells '%s': %s", text, x.got);
}

/* The field's value; static buffer. "": none. */
static const char *field(pm_node node, const char *name)
{
    static char value[300];
    int         err = pm_info_field(e.c, node, name, value, sizeof(value), NULL);

    if (err) {
        assert_int_equal(err, -ENODATA);
        return "";
    }
    return value;
}

/* --- status */

static void a_draft_tells_how_much_is_sent_and_until_when_it_is_kept_there(void **state)
{
    pm_node d;

    (void)state;
    pm_memory_session_lasts(e.b, 1000 * 60 * 60);
    d = env_mkdir(&e, e.root, "d");
    env_write(&e, d, "a", "12345");
    env_write(&e, d, "b", "123");
    status_tells("/m/d  project, draft: complete");
    status_tells("(8 bytes; what was sent is kept there until ");
    json_tells("\"path\":\"/m/d\",\"size\":8,\"sent\":8,");
    json_tells(",\"session_ends\":");
}

static void a_project_is_told_until_it_is_ready(void **state)
{
    struct wanted none = {.json = true, .text = "\"projects\":[]"};

    (void)state;
    pm_memory_progress(e.b, 40);
    none.refresh = publish("d");
    status_tells("/m/d  project, the service has made 40% of it");
    json_tells("\"projects\":[{\"path\":\"/m/d\",\"id\":\"" ID "\",\"url\":\"memory://" ID
               "\",\"percent\":40,\"ready\":false,\"errors\":\"\"}]");
    pm_memory_progress(e.b, 100);
    if (!env_until(status_has, &none))
        fail_msg("the project is told: %s", none.got);
    status_is_silent_of("/m/d");
}

static void what_went_wrong_with_a_project_is_told_though_it_is_ready(void **state)
{
    (void)state;
    pm_memory_errors(e.b, "scan 3 has no points");
    publish("d");
    status_tells("/m/d  project, ready, it says: scan 3 has no points");
    json_tells("\"percent\":100,\"ready\":true,\"errors\":\"scan 3 has no points\"");
}

static void a_forgotten_project_is_told_no_more(void **state)
{
    PM_AUTO(pm_buf) struct pm_buf why = {0};
    uint64_t                      found;
    int                           err;
    pm_node                       d;

    (void)state;
    pm_memory_errors(e.b, "wrong");
    d = publish("d");
    status_tells("it says: wrong");
    while ((err = pm_work_evict(e.c, d, true, NULL, NULL, &found)) == -EBUSY)
        usleep(1000); /* it was published, and its record got, a moment ago */
    assert_int_equal(err, 0);
    assert_int_equal(pm_publish_forget(e.c, d, &why), 0);
    status_is_silent_of("wrong");
}

/* --- attributes */

static void a_project_has_its_address_and_its_service_s_fields(void **state)
{
    struct pm_info info;
    pm_node        d;

    (void)state;
    pm_memory_progress(e.b, 40);
    d = publish("d");
    status_tells("40%");
    assert_string_equal(field(d, "memory-draft.percent"), "40");
    assert_string_equal(field(d, "memory-draft.url"), "memory://" ID);
    assert_string_equal(field(d, "memory-draft.views"), "");
    assert_int_equal(pm_info_node(e.c, d, &info), 0);
    assert_string_equal(info.url, "memory://" ID);
    assert_string_equal(info.id, ID);
}

static void a_draft_has_no_address_and_its_files_tell_the_name_they_are_sent_by(void **state)
{
    pm_node        d = env_mkdir(&e, e.root, "d");
    pm_node        a = env_write(&e, d, "a b.jpg", "content");
    struct pm_info info;

    (void)state;
    status_tells("draft: complete");
    assert_int_equal(pm_info_node(e.c, d, &info), 0);
    assert_string_equal(info.url, "");
    assert_string_equal(field(d, "memory-draft.url"), "");
    assert_string_equal(field(a, "memory-draft.name"), "a_b.jpg");
}

static void only_the_service_s_own_names_are_fields(void **state)
{
    char value[100];

    (void)state;
    assert_true(pm_info_is_field(e.c, e.root, "memory-draft.status"));
    assert_false(pm_info_is_field(e.c, e.root, "memory-draft"));
    assert_false(pm_info_is_field(e.c, e.root, "memory.status"));
    assert_false(pm_info_is_field(e.c, e.root, "comment"));
    assert_int_equal(pm_info_field(e.c, e.root, "comment", value, sizeof(value), NULL), -EOPNOTSUPP);
}

static void a_project_of_others_is_asked_for_its_fields(void **state)
{
    struct env_waiter w;
    char              value[100];

    (void)state;
    pm_memory_progress(e.b, 70);
    assert_int_equal(pm_memory_project(e.b, "theirs"), 0);
    env_waiter_init(&w);
    assert_int_equal(pm_tree_lookup(e.c, e.root, "theirs", &w.w, &attr), -EINPROGRESS);
    assert_true(env_waiter_wait(&w, 30000));
    assert_int_equal(pm_tree_lookup(e.c, e.root, "theirs", NULL, &attr), 0);
    env_waiter_init(&w);
    assert_int_equal(pm_info_field(e.c, attr.node, "memory-draft.percent", value, sizeof(value), &w.w),
                     -EINPROGRESS);
    assert_true(env_waiter_wait(&w, 30000));
    assert_string_equal(field(attr.node, "memory-draft.percent"), "70");
}

/* --- links */

static int look(const char *name)
{
    return pm_tree_lookup(e.c, e.root, name, NULL, &attr);
}

static void leads_to(const char *name, const char *expected)
{
    char target[256];

    assert_int_equal(look(name), 0);
    assert_int_equal(attr.kind, PM_LINK);
    assert_int_equal(attr.size, strlen(expected));
    assert_int_equal(pm_tree_readlink(e.c, attr.node, target), 0);
    assert_string_equal(target, expected);
}

static void a_published_folder_is_found_by_its_address_as_a_link(void **state)
{
    pm_node d;

    (void)state;
    assert_int_equal(look(SLUG), -ENOENT);
    d = publish("My scans");
    leads_to(SLUG, "My scans");
    leads_to(ID, "My scans");
    assert_int_not_equal(attr.node, d);
    assert_string_equal(env_names(&e, e.root), "My scans");
}

static void a_link_s_number_is_the_same_after_a_restart_and_leads_verbs_to_the_folder(void **state)
{
    pm_node d = publish("d");
    pm_node link;
    pm_node found;

    (void)state;
    leads_to(SLUG, "d");
    link = attr.node;
    assert_int_equal(pm_tree_resolve(e.c, "m/" SLUG "/a b.jpg", &found), 0);
    assert_int_equal(found, env_find(&e, "d/a b.jpg"));
    env_stop(&e);
    env_open(&e);
    leads_to(SLUG, "d");
    assert_int_equal(attr.node, link);
    assert_int_equal(pm_tree_resolve(e.c, "m/" SLUG, &found), 0);
    assert_int_equal(found, d);
}

static void a_link_cannot_be_removed_renamed_or_changed(void **state)
{
    (void)state;
    publish("d");
    leads_to(SLUG, "d");
    assert_int_equal(pm_change_unlink(e.c, e.root, SLUG), -EPERM);
    assert_int_equal(pm_change_rename(e.c, e.root, SLUG, e.root, "other", 0, NULL), -EPERM);
    assert_int_equal(pm_change_attr(e.c, attr.node, PM_SET_MTIME, &attr), -EPERM);
    pm_tree_forget(e.c, attr.node);
    leads_to(SLUG, "d");
}

static void a_folder_under_its_own_address_is_no_link(void **state)
{
    (void)state;
    assert_int_equal(pm_memory_project(e.b, "theirs"), 0);
    pm_memory_draft_lists(e.b);
    assert_int_equal(env_list(&e, e.root), 0);
    assert_int_equal(look("theirs"), 0);
    assert_int_equal(attr.kind, PM_FOLDER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_draft_tells_how_much_is_sent_and_until_when_it_is_kept_there),
        TEST(a_project_is_told_until_it_is_ready),
        TEST(what_went_wrong_with_a_project_is_told_though_it_is_ready),
        TEST(a_forgotten_project_is_told_no_more),
        TEST(a_project_has_its_address_and_its_service_s_fields),
        TEST(a_draft_has_no_address_and_its_files_tell_the_name_they_are_sent_by),
        TEST(only_the_service_s_own_names_are_fields),
        TEST(a_project_of_others_is_asked_for_its_fields),
        TEST(a_published_folder_is_found_by_its_address_as_a_link),
        TEST(a_link_s_number_is_the_same_after_a_restart_and_leads_verbs_to_the_folder),
        TEST(a_link_cannot_be_removed_renamed_or_changed),
        TEST(a_folder_under_its_own_address_is_no_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
