/* Endpoints: from the user's text to the addresses and the way of connecting.
 *
 *   redis://user:password@host:port/db?timeout=5s
 *   scheme  userinfo      hosts     path query
 *
 * The text is cut into those parts first (split_uri), then each part is read by its own function. A
 * part that may hold a secret is never quoted in an error: all text before the last '@', and the
 * values of query parameters. An unescaped '/', '?' or '#' in a password would move its rest into
 * another part, so an '@' behind the hosts is refused before any part is looked at.
 */
#include "server/endpoint.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/units.h"

enum {
    TEXT_MAX = 4096,     /* longest endpoint that is looked at */
    HOST_MAX = 253,      /* RFC 1035, without the last dot */
    UNIX_PATH_MAX = 107, /* sun_path of sockaddr_un, less the NUL */
    DB_MAX = 999999,     /* far above any "databases" setting */
    URI_TIMEOUT_MAX_MS = 24 * 60 * 60 * 1000,
    QUOTE_MAX = 64, /* how much of a bad part an error repeats */
};

#define DEFAULT_HOST "127.0.0.1"

struct scheme {
    const char *name;
    enum endpoint_kind kind;
    bool tls;
};

static const struct scheme schemes[] = {
    { "redis", ENDPOINT_TCP, false },
    { "rediss", ENDPOINT_TCP, true },
    { "valkey", ENDPOINT_TCP, false },
    { "valkeys", ENDPOINT_TCP, true },
    { "unix", ENDPOINT_UNIX, false },
    { "redis-socket", ENDPOINT_UNIX, false },
    { "redis-sentinel", ENDPOINT_SENTINEL, false },
    { "rediss-sentinel", ENDPOINT_SENTINEL, true },
};

/* The parts of a URI, each without its separators; ptr is NULL where a part is missing. */
struct parts {
    const struct scheme *scheme;
    struct bytes userinfo;
    struct bytes hosts;
    struct bytes path; /* with its '/' */
    struct bytes query;
};

static bool refuse(const struct endpoint *endpoint, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse(const struct endpoint *endpoint, struct err *err, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    err_vset(err, ERR_USAGE, endpoint->role, fmt, ap);
    va_end(ap);
    return false;
}

static const char *quote(struct bytes part, char buf[QUOTE_MAX]) {
    return bytes_escape(part, buf, QUOTE_MAX);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Into fresh memory. `what` names the part, since the part itself may be a secret. */
static bool percent_decode(const struct endpoint *endpoint, const char *what, struct bytes in,
                           char **out, struct err *err) {
    char *text = mem_alloc(in.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < in.len; i++) {
        int c = (unsigned char)in.ptr[i];
        if (c == '%') {
            int high = in.len - i > 2 ? hex_digit(in.ptr[i + 1]) : -1;
            int low = in.len - i > 2 ? hex_digit(in.ptr[i + 2]) : -1;
            c = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (c == 0) {
            text[len] = '\0';
            endpoint_wipe(&text);
            return refuse(
                endpoint, err,
                "%s has a '%%' that is not followed by two hex digits (01 to FF); write %%25 for "
                "'%%' itself",
                what);
        }
        text[len++] = (char)c;
    }
    text[len] = '\0';
    *out = text;
    return true;
}

/* Takes over *value into *field; a field that has a value already was named twice. */
static bool set_once(const struct endpoint *endpoint, const char *what, char **field, char *value,
                     struct err *err) {
    if (*field != NULL) {
        endpoint_wipe(&value);
        return refuse(endpoint, err, "%s is named twice", what);
    }
    *field = value;
    return true;
}

static bool parse_port(const struct endpoint *endpoint, struct bytes text, uint16_t *port,
                       struct err *err) {
    char buf[QUOTE_MAX];
    int64_t number = 0;
    bool digits = text.len > 0;
    for (size_t i = 0; i < text.len; i++) digits = digits && isdigit((unsigned char)text.ptr[i]);
    if (!digits || !bytes_to_i64(text, &number) || number < 1 || number > UINT16_MAX)
        /* A text that is no number may be the password of a URI whose host was forgotten. */
        return digits
                   ? refuse(endpoint, err, "port %s is not a number from 1 to 65535",
                            quote(text, buf))
                   : refuse(endpoint, err, "the port behind ':' is not a number from 1 to 65535");
    *port = (uint16_t)number;
    return true;
}

static bool is_host_name(struct bytes text) {
    if (text.len == 0 || text.len > HOST_MAX || text.ptr[0] == '-' || text.ptr[0] == '.')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x80 || (!isalnum(c) && strchr("-._", c) == NULL) || c == 0) return false;
        if (c == '.' && i + 1 < text.len && text.ptr[i + 1] == '.') return false;
    }
    return true;
}

/* `[address]`, with an optional zone that may be written %eth0 or, as RFC 6874 wants, %25eth0. */
static bool parse_ipv6(const struct endpoint *endpoint, struct bytes text, char **host,
                       struct err *err) {
    char buf[QUOTE_MAX];
    struct bytes rest = text;
    struct bytes address = bytes_split(&rest, '%');
    bool zone = address.len < text.len;
    if (zone && bytes_has_prefix(rest, "25")) rest = bytes_of(rest.ptr + 2, rest.len - 2);

    char plain[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    bool good = address.len < sizeof(plain) && (!zone || (is_host_name(rest) && rest.len < 16));
    if (good) {
        memcpy(plain, address.ptr, address.len);
        plain[address.len] = '\0';
        good = strlen(plain) == address.len && inet_pton(AF_INET6, plain, &parsed) == 1;
    }
    if (!good)
        return refuse(endpoint, err, "\"[%s]\" is not an IPv6 address; expected e.g. [::1]:6379",
                      quote(text, buf));
    *host = zone ? mem_printf("%s%%%.*s", plain, (int)rest.len, rest.ptr) : mem_strdup(plain);
    return true;
}

/* `host`, `host:port`, `[v6]`, `[v6]:port`, and `:port` on this machine. */
static bool parse_host(struct endpoint *endpoint, struct bytes text, uint16_t default_port,
                       struct err *err) {
    char buf[QUOTE_MAX];
    struct bytes name, port = { 0 };
    bool has_port, bracketed = text.len > 0 && text.ptr[0] == '[';
    if (bracketed) {
        const char *end = memchr(text.ptr, ']', text.len);
        if (end == NULL)
            return refuse(endpoint, err,
                          "\"%s\" lacks the ']' of an IPv6 address; expected e.g. [::1]:6379",
                          quote(text, buf));
        name = bytes_of(text.ptr + 1, (size_t)(end - text.ptr) - 1);
        port = bytes_of(end + 1, text.len - name.len - 2);
        has_port = port.len > 0;
        if (has_port && port.ptr[0] != ':')
            return refuse(endpoint, err, "expected ':' and a port behind ']', not \"%s\"",
                          quote(port, buf));
        if (has_port) port = bytes_of(port.ptr + 1, port.len - 1);
    } else {
        port = text;
        name = bytes_split(&port, ':');
        has_port = name.len < text.len;
        if (has_port && memchr(port.ptr, ':', port.len) != NULL)
            return refuse(
                endpoint, err,
                "the host has several ':'; expected host:port, or an IPv6 address in brackets, "
                "e.g. [::1]:6379");
    }

    struct endpoint_host host = { .port = default_port };
    if (has_port && !parse_port(endpoint, port, &host.port, err)) return false;
    if (bracketed) {
        if (!parse_ipv6(endpoint, name, &host.host, err)) return false;
    } else if (name.len == 0 && has_port) {
        host.host = mem_strdup(DEFAULT_HOST);
    } else if (is_host_name(name)) {
        host.host = mem_strndup(name.ptr, name.len);
    } else {
        return refuse(endpoint, err,
                      "\"%s\" is not a host name or address; expected host:port or a URI such as "
                      "redis://host:port/0",
                      quote(name, buf));
    }
    endpoint->hosts = mem_array(endpoint->hosts, endpoint->n_hosts + 1, sizeof(*endpoint->hosts));
    endpoint->hosts[endpoint->n_hosts++] = host;
    return true;
}

static bool parse_hosts(struct endpoint *endpoint, struct bytes hosts, struct err *err) {
    bool sentinel = endpoint->kind == ENDPOINT_SENTINEL;
    if (hosts.len == 0)
        return refuse(endpoint, err, "no host is named; expected e.g. %s",
                      sentinel ? "redis-sentinel://h1,h2/?sentinelMasterId=NAME"
                               : "redis://host:port");
    if (!sentinel && memchr(hosts.ptr, ',', hosts.len) != NULL)
        return refuse(endpoint, err,
                      "only redis-sentinel:// takes several hosts; of a cluster name any one node");
    do {
        if (endpoint->n_hosts == ENDPOINT_HOSTS_MAX)
            return refuse(endpoint, err, "more than %d sentinels are named", ENDPOINT_HOSTS_MAX);
        bool trailing = hosts.ptr[hosts.len - 1] == ',';
        struct bytes host = bytes_split(&hosts, ',');
        if (host.len == 0 || (trailing && hosts.len == 0))
            return refuse(endpoint, err, "the list of sentinels has an empty entry");
        if (!parse_host(endpoint, host, sentinel ? ENDPOINT_SENTINEL_PORT : ENDPOINT_DEFAULT_PORT,
                        err))
            return false;
    } while (hosts.len > 0);
    return true;
}

static bool parse_db(struct endpoint *endpoint, struct bytes text, struct err *err) {
    char buf[QUOTE_MAX];
    int64_t db = 0;
    bool digits = text.len > 0;
    for (size_t i = 0; i < text.len; i++) digits = digits && isdigit((unsigned char)text.ptr[i]);
    if (!digits || !bytes_to_i64(text, &db) || db > DB_MAX)
        return refuse(endpoint, err, "database \"%s\" is not a number from 0 to %d",
                      quote(text, buf), DB_MAX);
    if (endpoint->db_named) return refuse(endpoint, err, "the database is named twice");
    endpoint->db = (int)db;
    endpoint->db_named = true;
    return true;
}

/* `user:password` as everywhere; a word alone is the password, as redis-cli and Lettuce have it. */
static bool parse_userinfo(struct endpoint *endpoint, struct bytes userinfo, struct err *err) {
    struct bytes pass = userinfo;
    struct bytes user = bytes_split(&pass, ':');
    if (user.len == userinfo.len) {
        pass = user;
        user.len = 0;
    }
    if (user.len > 0 && !percent_decode(endpoint, "the user name", user, &endpoint->user, err))
        return false;
    if (pass.len > 0 && !percent_decode(endpoint, "the password", pass, &endpoint->pass, err))
        return false;
    return true;
}

/* Query parameters. `kinds` is a mask of the endpoint kinds that know the parameter. */

typedef bool param_fn(struct endpoint *endpoint, const char *name, char *value, struct err *err);

static bool param_timeout(struct endpoint *endpoint, const char *name, char *value,
                          struct err *err) {
    struct err cause = { 0 };
    size_t len = strlen(value);
    bool has_unit = len > 0 && isalpha((unsigned char)value[len - 1]);
    int64_t timeout_ms = 0;
    bool good = has_unit && units_parse_duration(value, name, &timeout_ms, &cause) &&
                timeout_ms >= 1 && timeout_ms <= URI_TIMEOUT_MAX_MS;
    free(value);
    if (!good)
        return refuse(endpoint, err,
                      "parameter timeout is not a time from 1ms to 1d; expected e.g. timeout=5s or "
                      "timeout=5000ms");
    if (endpoint->uri_timeout_ms != 0)
        return refuse(endpoint, err, "parameter timeout is given twice");
    endpoint->uri_timeout_ms = timeout_ms;
    return true;
}

static bool param_db(struct endpoint *endpoint, const char *name, char *value, struct err *err) {
    bool good = parse_db(endpoint, bytes_of_str(value), err);
    free(value);
    return good;
}

static bool param_user(struct endpoint *endpoint, const char *name, char *value, struct err *err) {
    return set_once(endpoint, "the user", &endpoint->user, value, err);
}

static bool param_pass(struct endpoint *endpoint, const char *name, char *value, struct err *err) {
    return set_once(endpoint, "the password", &endpoint->pass, value, err);
}

static bool param_sentinel_name(struct endpoint *endpoint, const char *name, char *value,
                                struct err *err) {
    return set_once(endpoint, "parameter sentinelMasterId", &endpoint->sentinel_name, value, err);
}

static bool param_sentinel_user(struct endpoint *endpoint, const char *name, char *value,
                                struct err *err) {
    return set_once(endpoint, "parameter sentinelUser", &endpoint->sentinel_user, value, err);
}

static bool param_sentinel_pass(struct endpoint *endpoint, const char *name, char *value,
                                struct err *err) {
    return set_once(endpoint, "parameter sentinelPassword", &endpoint->sentinel_pass, value, err);
}

enum {
    ON_TCP = 1 << ENDPOINT_TCP,
    ON_UNIX = 1 << ENDPOINT_UNIX,
    ON_SENTINEL = 1 << ENDPOINT_SENTINEL
};
enum { ON_ALL = ON_TCP | ON_UNIX | ON_SENTINEL };

static const struct param {
    const char *name;
    unsigned kinds;
    param_fn *set;
} params[] = {
    { "timeout", ON_ALL, param_timeout },
    { "db", ON_ALL, param_db },
    { "database", ON_ALL, param_db },
    { "user", ON_UNIX, param_user },
    { "password", ON_UNIX, param_pass },
    { "sentinelMasterId", ON_SENTINEL, param_sentinel_name },
    { "sentinelUser", ON_SENTINEL, param_sentinel_user },
    { "sentinelPassword", ON_SENTINEL, param_sentinel_pass },
};

static bool refuse_param(const struct endpoint *endpoint, struct bytes name, struct err *err) {
    char buf[QUOTE_MAX], known[256] = "";
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        if (!(params[i].kinds & (1u << endpoint->kind))) continue;
        if (known[0] != '\0') strcat(known, ", ");
        strcat(known, params[i].name);
    }
    return refuse(endpoint, err, "unknown parameter \"%s\"; known here are %s", quote(name, buf),
                  known);
}

static bool parse_param(struct endpoint *endpoint, struct bytes param, struct err *err) {
    struct bytes raw = param;
    struct bytes name = bytes_split(&raw, '=');
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        if (!(params[i].kinds & (1u << endpoint->kind)) ||
            !bytes_equal_nocase(name, params[i].name))
            continue;
        if (raw.len == 0) return refuse(endpoint, err, "parameter %s has no value", params[i].name);
        char what[64], *value = NULL;
        strcat(strcpy(what, "parameter "), params[i].name);
        if (!percent_decode(endpoint, what, raw, &value, err)) return false;
        return params[i].set(endpoint, params[i].name, value, err);
    }
    return refuse_param(endpoint, name, err);
}

static bool parse_query(struct endpoint *endpoint, struct bytes query, struct err *err) {
    while (query.len > 0) {
        struct bytes param = bytes_split(&query, '&');
        if (param.len > 0 && !parse_param(endpoint, param, err)) return false;
    }
    return true;
}

static bool parse_unix_path(struct endpoint *endpoint, struct bytes path, bool encoded,
                            struct err *err) {
    if (path.len == 0 || path.ptr[0] != '/')
        return refuse(
            endpoint, err,
            "no absolute path of a socket is named; expected e.g. unix:///run/redis.sock");
    if (!encoded)
        endpoint->path = mem_strndup(path.ptr, path.len);
    else if (!percent_decode(endpoint, "the socket's path", path, &endpoint->path, err))
        return false;
    if (strlen(endpoint->path) > UNIX_PATH_MAX)
        return refuse(endpoint, err, "the socket's path is longer than %d bytes", UNIX_PATH_MAX);
    return true;
}

static bool parse_uri_parts(struct endpoint *endpoint, const struct parts *parts, struct err *err) {
    endpoint->kind = parts->scheme->kind;
    endpoint->tls.on = parts->scheme->tls;
    if (!parse_userinfo(endpoint, parts->userinfo, err)) return false;
    if (endpoint->kind == ENDPOINT_UNIX) {
        if (parts->hosts.len > 0)
            return refuse(endpoint, err,
                          "a host stands where a socket's absolute path was expected, e.g. "
                          "unix:///run/redis.sock");
        if (!parse_unix_path(endpoint, parts->path, true, err)) return false;
    } else {
        if (!parse_hosts(endpoint, parts->hosts, err)) return false;
        struct bytes db = parts->path;
        if (db.len > 1 && !parse_db(endpoint, bytes_of(db.ptr + 1, db.len - 1), err)) return false;
    }
    if (!parse_query(endpoint, parts->query, err)) return false;
    if (endpoint->kind == ENDPOINT_SENTINEL && endpoint->sentinel_name == NULL)
        return refuse(endpoint, err,
                      "the sentinels' name of the primary is missing; add ?sentinelMasterId=NAME");
    return true;
}

static bool find_scheme(const struct endpoint *endpoint, struct bytes name,
                        const struct scheme **scheme, struct err *err) {
    char buf[QUOTE_MAX];
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        *scheme = &schemes[i];
        if (bytes_equal_nocase(name, schemes[i].name)) return true;
    }
    /* Where user and password follow, the text before "://" may be a piece of them. */
    bool secret = strchr(name.ptr, '@') != NULL;
    return refuse(
        endpoint, err,
        "unknown scheme%s%s%s; expected redis, rediss, valkey, valkeys, unix, redis-socket, "
        "redis-sentinel or rediss-sentinel",
        secret ? "" : " \"", secret ? "" : quote(name, buf), secret ? "" : "\"");
}

/* Cuts the text behind the "://". The userinfo ends at the last '@' before the path. */
static bool split_uri(const struct endpoint *endpoint, struct bytes rest, struct parts *parts,
                      struct err *err) {
    size_t authority_len = 0;
    while (authority_len < rest.len && strchr("/?#", rest.ptr[authority_len]) == NULL)
        authority_len++;
    struct bytes authority = bytes_of(rest.ptr, authority_len);
    rest = bytes_of(rest.ptr + authority_len, rest.len - authority_len);

    const char *at = memrchr(authority.ptr, '@', authority.len);
    bool plain_path = parts->scheme->kind == ENDPOINT_UNIX && authority.len == 0;
    if (!plain_path && memchr(rest.ptr, '@', rest.len) != NULL)
        return refuse(
            endpoint, err,
            "an '@' stands behind the host; in user and password write '/' as %%2F, '?' as %%3F, "
            "'#' as %%23, and elsewhere '@' as %%40");
    if (memchr(rest.ptr, '#', rest.len) != NULL)
        return refuse(endpoint, err,
                      "a '#' has no meaning here; in user and password write it as %%23");
    if (at != NULL) {
        parts->userinfo = bytes_of(authority.ptr, (size_t)(at - authority.ptr));
        authority = bytes_of(at + 1, authority.len - parts->userinfo.len - 1);
    }
    parts->hosts = authority;
    parts->query = rest;
    parts->path = bytes_split(&parts->query, '?');
    return true;
}

/* Without a scheme: host:port, or the path of a socket. */
static bool parse_plain(struct endpoint *endpoint, struct bytes text, struct err *err) {
    if (text.ptr[0] == '/') {
        endpoint->kind = ENDPOINT_UNIX;
        return parse_unix_path(endpoint, text, false, err);
    }
    endpoint->kind = ENDPOINT_TCP;
    if (memchr(text.ptr, '@', text.len) != NULL)
        return refuse(endpoint, err,
                      "user and password need a URI; expected redis://user:password@host:port");
    if (memchr(text.ptr, '/', text.len) != NULL || memchr(text.ptr, '?', text.len) != NULL)
        return refuse(endpoint, err,
                      "a database or parameters need a URI; expected redis://host:port/db");
    return parse_hosts(endpoint, text, err);
}

static char *make_label(const struct endpoint *endpoint) {
    if (endpoint->kind == ENDPOINT_UNIX) return mem_strdup(endpoint->path);
    const struct endpoint_host *first = &endpoint->hosts[0];
    bool v6 = strchr(first->host, ':') != NULL;
    char *address = mem_printf(v6 ? "[%s]:%u" : "%s:%u", first->host, first->port);
    if (endpoint->kind == ENDPOINT_TCP) return address;
    char *label = mem_printf("%s via %s", endpoint->sentinel_name, address);
    free(address);
    return label;
}

static bool parse_text(struct endpoint *endpoint, const char *text, struct err *err) {
    size_t len = strlen(text);
    if (len == 0)
        return refuse(
            endpoint, err,
            "the endpoint is empty; expected host:port or a URI such as redis://host:port/0");
    if (len > TEXT_MAX)
        return refuse(endpoint, err, "the endpoint is longer than %d bytes", TEXT_MAX);
    const char *sep = strstr(text, "://");
    if (sep == NULL) return parse_plain(endpoint, bytes_of(text, len), err);
    struct parts parts = { 0 };
    if (!find_scheme(endpoint, bytes_of(text, (size_t)(sep - text)), &parts.scheme, err))
        return false;
    if (!split_uri(endpoint, bytes_of_str(sep + 3), &parts, err)) return false;
    return parse_uri_parts(endpoint, &parts, err);
}

bool endpoint_parse(struct endpoint *endpoint, const char *role, const char *text,
                    struct err *err) {
    *endpoint = (struct endpoint){ .role = role };
    if (!parse_text(endpoint, text, err)) {
        endpoint_fini(endpoint);
        return false;
    }
    endpoint->label = make_label(endpoint);
    return true;
}

static char *dup_or_null(const char *text) {
    return text == NULL ? NULL : mem_strdup(text);
}

void endpoint_copy(struct endpoint *to, const struct endpoint *from) {
    *to = *from;
    to->hosts = from->n_hosts == 0 ? NULL : mem_array(NULL, from->n_hosts, sizeof(*to->hosts));
    for (size_t i = 0; i < from->n_hosts; i++) {
        to->hosts[i] = from->hosts[i];
        to->hosts[i].host = mem_strdup(from->hosts[i].host);
    }
    to->path = dup_or_null(from->path);
    to->sentinel_name = dup_or_null(from->sentinel_name);
    to->sentinel_user = dup_or_null(from->sentinel_user);
    to->sentinel_pass = dup_or_null(from->sentinel_pass);
    to->user = dup_or_null(from->user);
    to->pass = dup_or_null(from->pass);
    to->pass_file = dup_or_null(from->pass_file);
    to->tls.ca_file = dup_or_null(from->tls.ca_file);
    to->tls.ca_dir = dup_or_null(from->tls.ca_dir);
    to->tls.cert_file = dup_or_null(from->tls.cert_file);
    to->tls.key_file = dup_or_null(from->tls.key_file);
    to->tls.key_pass = dup_or_null(from->tls.key_pass);
    to->tls.server_name = dup_or_null(from->tls.server_name);
    to->label = dup_or_null(from->label);
}

void endpoint_wipe(char **secret) {
    if (*secret == NULL) return;
    explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

void endpoint_fini(struct endpoint *endpoint) {
    endpoint_wipe(&endpoint->pass);
    endpoint_wipe(&endpoint->sentinel_pass);
    endpoint_wipe(&endpoint->tls.key_pass);
    for (size_t i = 0; i < endpoint->n_hosts; i++) free(endpoint->hosts[i].host);
    free(endpoint->hosts);
    free(endpoint->path);
    free(endpoint->sentinel_name);
    free(endpoint->sentinel_user);
    free(endpoint->user);
    free(endpoint->pass_file);
    free(endpoint->tls.ca_file);
    free(endpoint->tls.ca_dir);
    free(endpoint->tls.cert_file);
    free(endpoint->tls.key_file);
    free(endpoint->tls.server_name);
    free(endpoint->label);
    const char *role = endpoint->role;
    *endpoint = (struct endpoint){ .role = role };
}
