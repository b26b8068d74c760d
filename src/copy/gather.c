/* See gather.h. */
#include "copy/gather.h"

/* Of a thread. Below the first, reading at once hinders nobody; from the second on every read
 * displaces something. */
#define GATHER_FROM 0.5
#define GATHER_FULLY 0.8

void gather_load_note(struct gather_load *load, int64_t at_us, int64_t cpu_us) {
    int64_t passed_us = at_us - load->at_us, used_us = cpu_us - load->cpu_us;
    if (passed_us >= 0 && passed_us < (int64_t)GATHER_LOAD_MIN_MS * 1000 && used_us >= 0) return;
    bool known = cpu_us >= 0 && load->at_us != 0 && used_us >= 0 && passed_us > 0;
    if (known && passed_us <= (int64_t)GATHER_LOAD_MAX_MS * 1000) {
        double share = (double)used_us / (double)passed_us;
        load->share = share > load->share ? share : (share + load->share) / 2;
    } else {
        load->share = 0;
    }
    load->at_us = cpu_us >= 0 ? at_us : 0;
    load->cpu_us = cpu_us >= 0 ? cpu_us : 0;
}

int64_t gather_time_ms(double share, int64_t most_ms) {
    double part = (share - GATHER_FROM) / (GATHER_FULLY - GATHER_FROM);
    if (part <= 0) return 0;
    return part >= 1 ? most_ms : (int64_t)(part * (double)most_ms);
}

size_t gather_allows(struct gather_gate *gate, int64_t now_ms, size_t queued, int64_t time_ms,
                     size_t free_per_s, bool full) {
    if (gate->sweep == 0) {
        int64_t waited_ms = now_ms - gate->opened_ms;
        /* the clock may be younger than the gathering time */
        bool due = gate->opened_ms == 0 || waited_ms >= time_ms;
        bool cheap =
            waited_ms >= GATHER_LEAST_MS && queued <= (uint64_t)waited_ms * free_per_s / 1000;
        if (!due && !cheap && !full) return 0;
        gate->opened_ms = now_ms;
        gate->sweep = queued;
    }
    return gate->sweep < queued ? gate->sweep : queued;
}

void gather_took(struct gather_gate *gate, size_t n) {
    gate->sweep -= n < gate->sweep ? n : gate->sweep;
}
