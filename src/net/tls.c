/* See tls.h. */
#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "net/tls_priv.h"

enum { TLS_READ_BUFFER = 64 * 1024 };

struct tls {
    SSL_CTX *ctx;
    bool insecure;
    atomic_int refs;
};

static bool tls_fail(struct err *err, const char *place, const char *what, const char *file) {
    unsigned long code = ERR_peek_last_error();
    unsigned long first = ERR_peek_error(); /* the system's, where a later one is "system lib" */
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    if (first != 0 && ERR_SYSTEM_ERROR(first)) reason = strerror((int)ERR_GET_REASON(first));
    if (reason == NULL) reason = "unknown";
    err_set(err, ERR_TLS, place, "%s %s: %s", what, file, reason);
    ERR_clear_error();
    return false;
}

static int on_key_pass(char *buf, int size, int rwflag, void *ctx) {
    const char *pass = ctx;
    size_t len = pass == NULL ? 0 : strlen(pass);
    if (len > (size_t)size) return -1;
    if (len > 0) memcpy(buf, pass, len);
    return (int)len;
}

static bool tls_load_trust(SSL_CTX *ctx, const struct tls_settings *s, const char *place,
                           struct err *err) {
    if (s->ca_file != NULL && SSL_CTX_load_verify_file(ctx, s->ca_file) != 1)
        return tls_fail(err, place, "cannot use the CA certificates in", s->ca_file);
    if (s->ca_dir != NULL && SSL_CTX_load_verify_dir(ctx, s->ca_dir) != 1)
        return tls_fail(err, place, "cannot use the CA directory", s->ca_dir);
    if (s->ca_file == NULL && s->ca_dir == NULL) SSL_CTX_set_default_verify_paths(ctx);
    return true;
}

static bool tls_load_identity(SSL_CTX *ctx, const struct tls_settings *s, const char *place,
                              struct err *err) {
    if (s->cert_file == NULL) return true;
    const char *key_file = s->key_file != NULL ? s->key_file : s->cert_file;
    SSL_CTX_set_default_passwd_cb(ctx, on_key_pass);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, (void *)s->key_pass);
    if (SSL_CTX_use_certificate_chain_file(ctx, s->cert_file) != 1)
        return tls_fail(err, place, "cannot use the client certificate", s->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
        return tls_fail(err, place, "cannot use the client key", key_file);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return tls_fail(err, place, "the client key does not belong to the certificate",
                        s->cert_file);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    return true;
}

struct tls *tls_new(const struct tls_settings *s, const char *place, struct err *err) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL) {
        tls_fail(err, place, "cannot start", "OpenSSL");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Several records per system call. */
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, TLS_READ_BUFFER);
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_verify(ctx, s->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (!tls_load_trust(ctx, s, place, err) || !tls_load_identity(ctx, s, place, err)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    struct tls *tls = mem_zalloc(sizeof(*tls));
    tls->ctx = ctx;
    tls->insecure = s->insecure;
    atomic_init(&tls->refs, 1);
    return tls;
}

struct tls *tls_ref(struct tls *tls) {
    atomic_fetch_add(&tls->refs, 1);
    return tls;
}

void tls_free(struct tls **tls) {
    struct tls *t = *tls;
    *tls = NULL;
    if (t == NULL || atomic_fetch_sub(&t->refs, 1) > 1) return;
    SSL_CTX_free(t->ctx);
    free(t);
}

static bool is_address(const char *name) {
    unsigned char addr[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1;
}

SSL *tls_session_new(struct tls *tls, int fd, const char *name, const char *place,
                     struct err *err) {
    SSL *ssl = SSL_new(tls->ctx);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        tls_fail(err, place, "cannot start", "a TLS session");
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    /* "w*.example.com" is accepted by nobody else. */
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (is_address(name)) {
        if (!tls->insecure) X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
    } else {
        SSL_set_tlsext_host_name(ssl, name);
        if (!tls->insecure) SSL_set1_host(ssl, name);
    }
    return ssl;
}

/* Alerts by which a server says that it will never have us: RFC 8446 section 6.2, certificates and
 * access. */
static bool is_refusal(unsigned long code) {
    int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;
    return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) ||
           alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_ACCESS_DENIED ||
           alert == SSL_AD_CERTIFICATE_REQUIRED;
}

void tls_session_error(SSL *ssl, int result, int saved_errno, const char *place, struct err *err) {
    long verify = SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_last_error();
    int kind = SSL_get_error(ssl, result);
    if (verify != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE) {
        err_set(
            err, ERR_TLS, place,
            "the server's certificate is not accepted (%s); set the CA that signed it, or the name "
            "it was made for",
            X509_verify_cert_error_string(verify));
    } else if (kind == SSL_ERROR_SSL && ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER) {
        err_set(err, ERR_TLS, place,
                "the port does not speak TLS; leave TLS off, or use the TLS port");
    } else if (kind == SSL_ERROR_SSL && code != 0) {
        const char *reason = ERR_reason_error_string(code);
        /* A session that worked once and is damaged on its way works again on a new connection. */
        bool passing = SSL_is_init_finished(ssl) && !is_refusal(code);
        err_set(err, passing ? ERR_CLOSED : ERR_TLS, place, "TLS failed: %s",
                reason != NULL ? reason : "unknown reason");
    } else if (kind == SSL_ERROR_SYSCALL && saved_errno != 0) {
        err_set_errno(err, ERR_CLOSED, place, saved_errno, "connection lost");
    } else {
        err_set(err, ERR_CLOSED, place, "connection closed by the server");
    }
    ERR_clear_error();
}
