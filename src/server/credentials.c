/* See credentials.h. */
#include "server/credentials.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/secret_file.h"

enum { TLS_FILES = 4 };

/* Changes when a file is written again or another one takes its name. All zero: no such file. */
struct file_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

struct credentials {
    struct endpoint endpoint;
    pthread_mutex_t lock; /* for all below */
    char *pass;
    struct tls *tls;
    struct file_stamp stamps[TLS_FILES]; /* of the TLS files when they were read last */
    uint64_t generation;
    int64_t read_ms;       /* when the files were read again last */
    unsigned hangups_seen; /* of credentials_hangups */
    bool told;             /* the password file could not be read, and that was logged */
};

static atomic_uint credentials_hangups;

void credentials_hang_up(void) {
    atomic_fetch_add(&credentials_hangups, 1);
}

/* ---- files ---- */

static void credentials_stamp(const struct endpoint_tls *tls, struct file_stamp stamps[TLS_FILES]) {
    const char *const files[TLS_FILES] = { tls->ca_file, tls->ca_dir, tls->cert_file,
                                           tls->key_file };
    memset(stamps, 0, TLS_FILES * sizeof(*stamps));
    for (int i = 0; i < TLS_FILES; i++) {
        struct stat st;
        if (files[i] == NULL || stat(files[i], &st) != 0) continue;
        stamps[i].device = st.st_dev;
        stamps[i].inode = st.st_ino;
        stamps[i].size = st.st_size;
        stamps[i].modified = st.st_mtim;
    }
}

static struct tls *credentials_load_tls(const struct endpoint *e, struct err *err) {
    const struct endpoint_tls *t = &e->tls;
    const struct tls_settings settings = { .insecure = t->insecure,
                                           .ca_file = t->ca_file,
                                           .ca_dir = t->ca_dir,
                                           .cert_file = t->cert_file,
                                           .key_file = t->key_file,
                                           .key_pass = t->key_pass };
    return tls_new(&settings, e->role, err);
}

/* True when the password is another one now. */
static bool credentials_reread_password(struct credentials *c) {
    struct err err;
    char *fresh = NULL;
    if (c->endpoint.pass_file == NULL) return false;
    if (!secret_file_read(c->endpoint.pass_file, c->endpoint.role, &fresh, &err)) {
        if (!c->told) log_warn(err.place, "%s; the former password stays in use", err.text);
        c->told = true;
        return false;
    }
    c->told = false;
    bool changed = c->pass == NULL || strcmp(c->pass, fresh) != 0;
    if (changed) {
        endpoint_wipe(&c->pass);
        c->pass = fresh;
        log_info(c->endpoint.role, "password file %s read again: it has another password",
                 c->endpoint.pass_file);
    } else {
        endpoint_wipe(&fresh);
    }
    return changed;
}

/* True when the TLS files are other ones now. Files that do not fit together yet are tried again
 * once one of them changes. */
static bool credentials_reread_tls(struct credentials *c) {
    struct file_stamp stamps[TLS_FILES];
    struct err err;
    if (!c->endpoint.tls.on) return false;
    credentials_stamp(&c->endpoint.tls, stamps);
    if (memcmp(stamps, c->stamps, sizeof(stamps)) == 0) return false;
    memcpy(c->stamps, stamps, sizeof(stamps));
    struct tls *fresh = credentials_load_tls(&c->endpoint, &err);
    if (fresh == NULL) {
        log_warn(err.place, "%s; the former certificates stay in use", err.text);
        return false;
    }
    tls_free(&c->tls);
    c->tls = fresh;
    log_info(c->endpoint.role, "TLS certificates read again: their files have changed");
    return true;
}

static bool credentials_reread(struct credentials *c) {
    bool pass = credentials_reread_password(c), tls = credentials_reread_tls(c);
    c->read_ms = clock_mono_ms();
    c->generation += pass || tls;
    return pass || tls;
}

/* ---- for the owner ---- */

struct credentials *credentials_new(const struct endpoint *endpoint, struct err *err) {
    struct credentials *c = mem_zalloc(sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    endpoint_copy(&c->endpoint, endpoint);
    if (endpoint->pass != NULL) c->pass = mem_strdup(endpoint->pass);
    endpoint_wipe(&c->endpoint.pass);
    c->hangups_seen = atomic_load(&credentials_hangups);
    c->read_ms = clock_mono_ms() - CREDENTIALS_PAUSE_MS;
    if (!endpoint->tls.on) return c;
    credentials_stamp(&c->endpoint.tls, c->stamps);
    c->tls = credentials_load_tls(&c->endpoint, err);
    if (c->tls == NULL) credentials_free(&c);
    return c;
}

void credentials_free(struct credentials **credentials) {
    struct credentials *c = *credentials;
    *credentials = NULL;
    if (c == NULL) return;
    endpoint_wipe(&c->pass);
    tls_free(&c->tls);
    endpoint_fini(&c->endpoint);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void credentials_take(struct credentials *c, struct login *login) {
    pthread_mutex_lock(&c->lock);
    unsigned hangups = atomic_load(&credentials_hangups);
    if (hangups != c->hangups_seen) {
        c->hangups_seen = hangups;
        credentials_reread(c);
    }
    *login = (struct login){
        .user = c->endpoint.user != NULL ? mem_strdup(c->endpoint.user) : NULL,
        .pass = c->pass != NULL ? mem_strdup(c->pass) : NULL,
        .tls = c->tls != NULL ? tls_ref(c->tls) : NULL,
        .generation = c->generation,
    };
    pthread_mutex_unlock(&c->lock);
}

void login_fini(struct login *login) {
    free(login->user);
    endpoint_wipe(&login->pass);
    tls_free(&login->tls);
    *login = (struct login){ 0 };
}

bool credentials_renew(struct credentials *c, uint64_t generation) {
    pthread_mutex_lock(&c->lock);
    bool changed = c->generation != generation;
    if (!changed && clock_mono_ms() - c->read_ms >= CREDENTIALS_PAUSE_MS)
        changed = credentials_reread(c);
    pthread_mutex_unlock(&c->lock);
    return changed;
}
