#define _GNU_SOURCE
#include "ticks.h"

#include <stdbool.h>
#include <string.h>

static bool digits_read(const char *text, int digits, uint64_t *value) {
    uint64_t sum = 0;
    for (int at = 0; at < digits; at++) {
        unsigned digit = (unsigned)(text[at] - '0');
        if (digit > 9) return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

void digits_write(char *out, uint64_t value, int digits) {
    while (digits-- > 0) {
        out[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

static bool tick_read(const char *mark, Tick *tick) {
    uint64_t lane, number, at;
    const char *digits = mark + LANE_DIGITS + 1;
    if (!digits_read(mark, LANE_DIGITS, &lane) || !digits_read(digits, NUMBER_DIGITS, &number)) return false;
    if (!digits_read(digits + NUMBER_DIGITS + 1, TIME_DIGITS, &at)) return false;
    *tick = (Tick){(uint32_t)lane, (uint32_t)number, (int64_t)at};
    return true;
}

void tick_write(char *out, const Tick *tick) {
    digits_write(out, tick->lane, LANE_DIGITS);
    out[LANE_DIGITS] = '-';
    digits_write(out + LANE_DIGITS + 1, tick->number, NUMBER_DIGITS);
    out[LANE_DIGITS + NUMBER_DIGITS + 1] = '-';
    digits_write(out + LANE_DIGITS + NUMBER_DIGITS + 2, (uint64_t)tick->at_ns, TIME_DIGITS);
}

/* Find the next key. Events of one question are equally long, so it is mostly a stride away; a guess that skipped a
 * tick would be found out as a missing number. */
static const char *find_key(const char *from, const char *end, ptrdiff_t stride) {
    if (stride > 0 && end - from > stride + KEY_LENGTH) {
        const char *guess = from + stride;
        if (memcmp(guess, TICK_KEY, KEY_LENGTH) == 0) return guess;
    }
    return memmem(from, (size_t)(end - from), TICK_KEY, KEY_LENGTH);
}

/* Scan a whole text for ticks that begin before `limit`; return where to go on. */
static const char *scan(const char *at, const char *limit, const char *end, TickTaker take, void *taker,
                        uint32_t *garbled) {
    ptrdiff_t stride = 0;
    while (at < limit) {
        const char *key = find_key(at, end, stride);
        if (key == NULL || key >= limit || end - key < TICK_LENGTH) break;
        Tick tick;
        if (tick_read(key + KEY_LENGTH, &tick))
            take(taker, &tick);
        else
            (*garbled)++;
        stride = key - at;
        at = key + TICK_LENGTH;
    }
    return at;
}

static void keep_tail(Scan *scan, const char *at, const char *end) {
    size_t length = (size_t)(end - at);
    if (length > TICK_LENGTH - 1) length = TICK_LENGTH - 1;
    memmove(scan->tail, end - length, length);
    scan->length = (uint32_t)length;
}

uint32_t ticks_scan(Scan *state, const char *data, size_t length, TickTaker take, void *taker) {
    uint32_t garbled = 0;
    const char *at = data, *end = data + length;
    if (state->length > 0) {
        char seam[2 * TICK_LENGTH];
        size_t before = state->length, taken = length < TICK_LENGTH ? length : TICK_LENGTH;
        memcpy(seam, state->tail, before);
        memcpy(seam + before, data, taken);
        const char *seam_end = seam + before + taken;
        if (taken == length) { /* a short part: the seam is all there is */
            keep_tail(state, scan(seam, seam_end, seam_end, take, taker, &garbled), seam_end);
            return garbled;
        }
        const char *after = scan(seam, seam + before, seam_end, take, taker, &garbled);
        if (after > seam + before) at = data + (after - (seam + before));
    }
    keep_tail(state, scan(at, end, end, take, taker, &garbled), end);
    return garbled;
}

void sequence_take(Sequence *sequence, Verdict *verdict, uint32_t number) {
    verdict->received++;
    if (number == sequence->next) {
        sequence->next++;
    } else if (number > sequence->next) {
        sequence->gap_from = sequence->next;
        sequence->gap_to = number;
        sequence->next = number + 1;
    } else if (number >= sequence->gap_from && number < sequence->gap_to) {
        verdict->disordered++;
        if (number == sequence->gap_from) sequence->gap_from++;
    } else {
        verdict->repeated++;
    }
}
