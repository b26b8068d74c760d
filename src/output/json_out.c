/* See json_out.h. */
#include "output/json_out.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

bool json_out(json_t *document, int exit_status, struct err *err) {
    errno = 0;
    json_object_set_new(document, "exit_status", json_integer(exit_status));
    int failed = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(document);
    failed |= fputc('\n', stdout) == EOF;
    failed |= fflush(stdout) != 0;
    if (failed != 0)
        return err_set_errno(err, ERR_IO, "standard output", errno,
                             "the result could not be written");
    return true;
}

json_t *json_of_bytes(struct bytes bytes) {
    json_t *text = json_stringn(bytes.ptr, bytes.len);
    if (text != NULL) return text;
    size_t size = bytes.len * 4 + 4;
    char *escaped = mem_alloc(size);
    text = json_string(bytes_escape(bytes, escaped, size));
    free(escaped);
    return text;
}

json_t *json_of_error(const struct err *error) {
    char message[ERR_PLACE_MAX + ERR_TEXT_MAX + 4];
    if (error->code == ERR_NONE) return json_null();
    err_format(error, message, sizeof(message));
    return json_pack("{ss so}", "code", err_label(error->code), "message",
                     json_of_bytes(bytes_of_str(message)));
}
