/* See barrier.h. */
#include "capture/barrier.h"

#define RESYNCHRONISED "the replica was resynchronised from its primary"

/* "master" offset replicas; "slave" host port state offset. */
struct barrier_role barrier_role_parse(const struct resp_item *item, struct resp_cursor cursor) {
    struct barrier_role role = { 0 };
    struct resp_item word;
    if (!resp_is_aggregate(item) || !resp_next(&cursor, &word) || !resp_is_string(&word))
        return role;
    role.replica = bytes_equal_str(word.str, "slave");
    role.known = role.replica || bytes_equal_str(word.str, "master");
    if (role.replica) {
        resp_next(&cursor, &word);
        resp_next(&cursor, &word);
        if (!resp_next(&cursor, &word)) return role;
        role.connected = bytes_equal_str(word.str, "connected");
    }
    if (!resp_next(&cursor, &word)) return role;
    if (word.type == RESP_INTEGER) {
        role.offset = word.num;
    } else if (!bytes_to_i64(word.str, &role.offset)) {
        role.offset = 0;
    }
    return role;
}

uint64_t barrier_feeder_parse(struct bytes text) {
    int64_t id;
    struct bytes word = bytes_split(&text, ' ');
    if (!bytes_has_prefix(word, "id=")) return 0;
    return bytes_to_i64(bytes_of(word.ptr + 3, word.len - 3), &id) && id > 0 ? (uint64_t)id : 0;
}

void barrier_reset(struct barrier *b, bool replica) {
    *b = (struct barrier){ .replica = replica };
}

bool barrier_begin(struct barrier *b, int64_t now_us, int64_t primary_offset, struct err *err) {
    if (b->replica && primary_offset < b->primary_offset)
        return err_set(err, ERR_CLOSED, "",
                       "the replication offset of the replica's primary went backward: the "
                       "primary restarted or was replaced");
    b->state = BARRIER_BEGUN;
    b->feeder_seen = false;
    b->since_us = now_us;
    b->primary_offset = primary_offset;
    return true;
}

bool barrier_take_feeder(struct barrier *b, uint64_t id, struct err *err) {
    if (id == 0) return true; /* not connected: its ROLE says so as well */
    if (!b->feeder_known) b->feeder = id;
    b->feeder_known = b->feeder_seen = true;
    return b->feeder == id || err_set(err, ERR_CLOSED, "", RESYNCHRONISED);
}

/* A replica that has lost its primary proves nothing until it is connected again. */
static enum barrier_verdict take_disconnected(struct barrier *b, struct err *err) {
    b->state = BARRIER_IDLE;
    if (b->feeder_known) return BARRIER_WAIT;
    err_set(err, ERR_CLOSED, "",
            "the replica lost the connection to its primary, and may be resynchronised");
    return BARRIER_BROKEN;
}

enum barrier_verdict barrier_take_role(struct barrier *b, const struct barrier_role *role,
                                       struct err *err) {
    if (role->known && role->replica != b->replica) {
        err_set(err, ERR_CLOSED, "", "the server is a %s now", b->replica ? "primary" : "replica");
        return BARRIER_BROKEN;
    }
    if (role->known && b->replica && !role->connected) return take_disconnected(b, err);
    if (role->known && b->replica && role->offset < b->offset) {
        err_set(err, ERR_CLOSED, "", RESYNCHRONISED ": its replication offset went backward");
        return BARRIER_BROKEN;
    }
    b->offset = role->offset;
    if (b->replica && role->offset < b->primary_offset) return BARRIER_WAIT;
    if (b->state == BARRIER_BEGUN) {
        b->state = BARRIER_CONFIRMING;
        return BARRIER_ASK_AGAIN;
    }
    b->state = BARRIER_IDLE;
    return b->feeder_known && !b->feeder_seen ? BARRIER_WAIT : BARRIER_PROVED;
}
