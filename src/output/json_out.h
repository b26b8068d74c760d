/* The one JSON document that `--output json` puts on standard output. */
#ifndef LONGHAUL_OUTPUT_JSON_OUT_H
#define LONGHAUL_OUTPUT_JSON_OUT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

/* Puts "exit_status" into the document, prints it with a newline behind it, and releases it. False
 * when it could not be written. */
bool json_out(json_t *document, int exit_status, struct err *err);

/* A JSON string of any bytes, escaped as bytes_escape() does where they are no UTF-8. */
json_t *json_of_bytes(struct bytes bytes);

/* {"code", "message"}, or null without error. */
json_t *json_of_error(const struct err *error);

#endif
