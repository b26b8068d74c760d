/* See descriptors.h. */
#include "net/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DESCRIPTORS_TRIED_MAX = 64 };

void descriptors_raise_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

long long descriptors_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return INT64_MAX;
    return (long long)limit.rlim_cur;
}

bool descriptors_set_errno(struct err *err, enum err_code code, const char *place, int errnum,
                           const char *text) {
    if (errnum != EMFILE && errnum != ENFILE)
        return err_set_errno(err, code, place, errnum, "%s", text);
    return err_set(
        err, ERR_FILES, place,
        errnum == EMFILE
            ? "%s: the limit of %lld open files is reached; raise it (ulimit -n, "
              "LimitNOFILE= of systemd)"
            : "%s: the machine's limit of open files is reached; raise the sysctl fs.file-max",
        text, descriptors_limit());
}

bool descriptors_are_left(int n, const char *place, struct err *err) {
    int opened[DESCRIPTORS_TRIED_MAX], got = 0, errnum = 0;
    while (got < n && got < DESCRIPTORS_TRIED_MAX) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        errnum = errno;
        if (fd < 0) break;
        opened[got++] = fd;
    }
    bool enough = got == n || got == DESCRIPTORS_TRIED_MAX;
    while (got > 0) close(opened[--got]);
    return enough || descriptors_set_errno(err, ERR_FILES, place, errnum, "no file can be opened");
}
