/* See spool.h. A record is its head and the name behind it. */
#include "engine/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct spool_head {
    uint32_t len;
    int32_t db;
    uint32_t tag;
};

struct spool {
    FILE *file;
    char *dir;
    uint64_t n;
    uint64_t left;   /* names before the next end of reading */
    off_t read_at;   /* of the next name that is read */
    bool reading;    /* the file stands at read_at, not at its end */
    int write_errno; /* why a name could not be written; 0: all are there */
    char *name;
    size_t name_cap;
};

static bool spool_failed(const char *dir, int number, struct err *err) {
    return err_set(
        err, ERR_IO, dir,
        "names of keys cannot be spooled there (%s); free some space, or set --state-dir "
        "or TMPDIR to a directory with room",
        strerror(number));
}

/* A file system without O_TMPFILE gets a file that is unlinked at once. */
static int spool_open(const char *dir) {
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
    char *path = mem_printf("%s/longhaul-spool-XXXXXX", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    free(path);
    return fd;
}

struct spool *spool_new(const char *dir, struct err *err) {
    const char *tmpdir = getenv("TMPDIR");
    if (dir == NULL) dir = tmpdir != NULL && tmpdir[0] != '\0' ? tmpdir : "/var/tmp";
    int fd = spool_open(dir);
    FILE *file = fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (file == NULL) {
        spool_failed(dir, errno, err);
        if (fd >= 0) close(fd);
        return NULL;
    }
    struct spool *spool = mem_zalloc(sizeof(*spool));
    spool->file = file;
    spool->dir = mem_strdup(dir);
    return spool;
}

void spool_free(struct spool **spool) {
    if (*spool == NULL) return;
    fclose((*spool)->file);
    free((*spool)->name);
    free((*spool)->dir);
    free(*spool);
    *spool = NULL;
}

/* A name that was written in part would be read as others: nothing is added or read behind it. */
static bool spool_write_failed(struct spool *spool, struct err *err) {
    if (spool->write_errno == 0) spool->write_errno = errno;
    return spool_failed(spool->dir, spool->write_errno, err);
}

bool spool_add(struct spool *spool, const struct spooled *one, struct err *err) {
    struct spool_head head = { .len = (uint32_t)one->key.len, .db = one->db, .tag = one->tag };
    if (spool->write_errno != 0) return spool_write_failed(spool, err);
    if (spool->reading && fseeko(spool->file, 0, SEEK_END) != 0)
        return spool_write_failed(spool, err);
    spool->reading = false;
    bool ok = fwrite(&head, sizeof(head), 1, spool->file) == 1 &&
              (head.len == 0 || fwrite(one->key.ptr, head.len, 1, spool->file) == 1);
    if (!ok) return spool_write_failed(spool, err);
    spool->n++;
    return true;
}

uint64_t spool_count(const struct spool *spool) {
    return spool->n;
}

bool spool_rewind(struct spool *spool, struct err *err) {
    if (spool->write_errno != 0 || fflush(spool->file) != 0) return spool_write_failed(spool, err);
    spool->reading = false;
    spool->read_at = 0;
    spool->left = spool->n;
    return true;
}

static bool spool_read(struct spool *spool, void *into, size_t len) {
    return len == 0 || fread(into, len, 1, spool->file) == 1;
}

bool spool_next(struct spool *spool, struct spooled *one, struct err *err) {
    struct spool_head head;
    if (spool->left == 0) return false;
    bool ok = spool->reading || fseeko(spool->file, spool->read_at, SEEK_SET) == 0;
    ok = ok && spool_read(spool, &head, sizeof(head));
    if (ok && head.len > spool->name_cap) {
        spool->name_cap = head.len;
        spool->name = mem_realloc(spool->name, spool->name_cap);
    }
    if (!ok || !spool_read(spool, spool->name, head.len))
        return spool_failed(spool->dir, ferror(spool->file) ? errno : EIO, err);
    spool->reading = true;
    spool->read_at += (off_t)(sizeof(head) + head.len);
    spool->left--;
    *one =
        (struct spooled){ .key = bytes_of(spool->name, head.len), .db = head.db, .tag = head.tag };
    return true;
}
