/* See secret_file.h. */
#include "server/secret_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"

static void secret_file_warn_of_mode(const char *path, const char *place) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IRGRP | S_IROTH)) != 0)
        log_warn(place, "%s can be read by other users; chmod 600 keeps the password to yourself",
                 path);
}

bool secret_file_read(const char *path, const char *place, char **secret, struct err *err) {
    char line[SECRET_MAX + 2];
    FILE *file = fopen(path, "re");
    if (file == NULL) return err_set_errno(err, ERR_IO, place, errno, "cannot open %s", path);
    /* Unbuffered, so that no copy of the password stays behind in a freed buffer. */
    setvbuf(file, NULL, _IONBF, 0);
    bool got = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    size_t len = got ? strcspn(line, "\r\n") : 0;
    bool good = len > 0 && len <= SECRET_MAX;
    if (good) *secret = mem_strndup(line, len);
    explicit_bzero(line, sizeof(line));
    if (!good)
        return err_set(err, ERR_USAGE, place,
                       "%s has no password of 1 to %d bytes in its first line", path, SECRET_MAX);
    secret_file_warn_of_mode(path, place);
    return true;
}
