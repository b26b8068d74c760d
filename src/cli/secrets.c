/* Secrets: hiding them in argv, and reading them from the terminal.
 *
 * argv is searched anew, by the rows of the option table, and more is hidden rather than less: a
 * "--source-pass" that stands as the value of another option hides the argument behind it too.
 * A hidden text becomes "*", so that its length is hidden too.
 */
#include "cli/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/option.h"
#include "server/endpoint.h"
#include "server/secret_file.h"

/* Replaces text[0..len) by "*" and closes the gap; the bytes left at the end become NUL. */
static void cut_out(char *text, size_t len) {
    size_t rest = strlen(text + len);
    if (len == 0) return;
    text[0] = '*';
    memmove(text + 1, text + len, rest);
    memset(text + 1 + rest, 0, len - 1);
}

static void mask_params(char *uri) {
    static const char *const names[] = { "password=", "pass=", "sentinelPassword=" };
    for (char *at = strchr(uri, '?'); at != NULL; at = strchr(at, '&')) {
        at++;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            if (strncasecmp(at, names[i], strlen(names[i])) == 0)
                cut_out(at + strlen(names[i]), strcspn(at + strlen(names[i]), "&"));
    }
}

/* From the first ':' (or the start, where a word alone is the password) to the last '@'. That is
 * more than the password where the URI is malformed, and never less. */
static void mask_uri(char *uri) {
    mask_params(uri);
    char *start = strstr(uri, "://");
    start = start == NULL ? uri : start + 3;
    char *at = strrchr(start, '@');
    if (at == NULL) return;
    char *colon = memchr(start, ':', (size_t)(at - start));
    char *secret = colon == NULL ? start : colon + 1;
    cut_out(secret, (size_t)(at - secret));
}

char *secrets_mask(const char *text) {
    char *copy = mem_strdup(text);
    mask_uri(copy);
    return copy;
}

static bool is_secret_option(const char *name, size_t len) {
    const struct option *option = option_find_any(name, len);
    return option != NULL && option->type == OPTION_SECRET;
}

void secrets_hide(int argc, char **argv) {
    bool next_is_secret = false;
    for (int i = 1; i < argc; i++) {
        char *arg = argv[i];
        size_t name_len = strncmp(arg, "--", 2) == 0 ? strcspn(arg + 2, "=") : 0;
        bool is_secret = name_len > 0 && is_secret_option(arg + 2, name_len);
        bool has_value = name_len > 0 && arg[2 + name_len] == '=';
        if (next_is_secret)
            cut_out(arg, strlen(arg));
        else if (is_secret && has_value)
            cut_out(arg + name_len + 3, strlen(arg + name_len + 3));
        else if (name_len == 0)
            mask_uri(arg);
        next_is_secret = is_secret && !has_value && !next_is_secret;
    }
}

enum { KEY_INTERRUPT = 3, KEY_END = 4, KEY_BACKSPACE = 8, KEY_KILL = 21, KEY_DELETE = 127 };

/* One line, key by key; false at end of input or Ctrl-C. */
static bool read_keys(int tty, char *line, size_t size) {
    size_t len = 0;
    char key;
    while (read(tty, &key, 1) == 1) {
        if (key == '\r' || key == '\n') {
            line[len] = '\0';
            return true;
        }
        if (key == KEY_INTERRUPT || key == KEY_END) return false;
        if (key == KEY_KILL)
            len = 0;
        else if (key == KEY_BACKSPACE || key == KEY_DELETE)
            len -= len > 0;
        else if (len + 1 < size)
            line[len++] = key;
    }
    return false;
}

/* The terminal must not stay without echo: so Ctrl-C arrives as a key, and other signals wait. */
static bool ask(int tty, const char *question, char *line, size_t size) {
    struct termios before, quiet;
    sigset_t all, old;
    if (tcgetattr(tty, &before) != 0) return false;
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    tcsetattr(tty, TCSAFLUSH, &quiet);
    bool good = write(tty, question, strlen(question)) >= 0 && read_keys(tty, line, size);
    tcsetattr(tty, TCSAFLUSH, &before);
    good = write(tty, "\n", 1) == 1 && good;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return good;
}

bool secrets_prompt(const char *question, const char *place, char **secret, struct err *err) {
    char line[SECRET_MAX + 1];
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0)
        return err_set(err, ERR_USAGE, place,
                       "there is no terminal to ask on; use --*-pass-file or the environment");
    bool good = ask(tty, question, line, sizeof(line));
    close(tty);
    if (good && line[0] != '\0') *secret = mem_strdup(line);
    bool empty = good && line[0] == '\0';
    explicit_bzero(line, sizeof(line));
    if (empty) return err_set(err, ERR_USAGE, place, "no password was typed");
    return good || err_set(err, ERR_INTERRUPTED, place, "no password was typed");
}
