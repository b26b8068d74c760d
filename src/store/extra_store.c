/* See extra_store.h. */
#include "store/extra_store.h"

#include <string.h>

#include "base/mem.h"
#include "store/job_store_priv.h"
#include "store/keys_priv.h"

bool extra_store_write(struct deployment *target, int db, const char *job, const char *data,
                       size_t len, struct err *err) {
    char key[STORE_KEY_MAX];
    struct call_reply reply;
    store_job_key(key, job, "extra");
    const struct bytes words[] = { BYTES_LITERAL("SET"), bytes_of_str(key), bytes_of(data, len) };
    if (!job_store_ask_owner(target, db, key, 3, words, &reply, err)) return false;
    call_reply_fini(&reply);
    return true;
}

bool extra_store_read(struct deployment *target, int db, const char *job, char **data, size_t *len,
                      bool *found, struct err *err) {
    char key[STORE_KEY_MAX];
    struct call_reply reply;
    store_job_key(key, job, "extra");
    const struct bytes words[] = { BYTES_LITERAL("GET"), bytes_of_str(key) };
    *data = NULL;
    *len = 0;
    if (!job_store_ask_owner(target, db, key, 2, words, &reply, err)) return false;
    *found = resp_is_string(&reply.item);
    if (*found) {
        *len = reply.item.str.len;
        *data = mem_alloc(*len + 1);
        memcpy(*data, reply.item.str.ptr, *len);
    }
    call_reply_fini(&reply);
    return true;
}
