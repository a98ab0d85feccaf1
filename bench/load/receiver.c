#define _GNU_SOURCE
#include "receiver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "clock.h"

enum { LONGEST_REQUEST = 4096, DEFAULT_POLL_MS = 5000 };

const char *const KIND_NAMES[KINDS] = {"sse", "websocket", "long-poll", "poll", "stalled"};

Tally tally;
static int64_t arrived_ns;
static uint32_t lane_count;

static void lose(Receiver *receiver) {
    if (!receiver->lost) tally.lost++;
    receiver->lost = true;
    wire_close(&receiver->source);
}

static void take_tick(void *taker, const Tick *tick) {
    Receiver *receiver = taker;
    if (tick->lane >= lane_count) {
        tally.garbled++;
        return;
    }
    sequence_take(&receiver->lanes[tick->lane], &receiver->verdict, tick->number);
    histogram_note(&tally.latency[receiver->kind], arrived_ns - tick->at_ns);
    tally.received++;
    tally.last_ns = arrived_ns;
}

static void keep_end(Receiver *receiver, const char *data, size_t length) {
    if (length >= END_LENGTH) {
        memcpy(receiver->end, data + length - END_LENGTH, END_LENGTH);
        receiver->end_length = END_LENGTH;
    } else {
        size_t kept = receiver->end_length + length > END_LENGTH ? END_LENGTH - length : receiver->end_length;
        memmove(receiver->end, receiver->end + receiver->end_length - kept, kept);
        memcpy(receiver->end + kept, data, length);
        receiver->end_length = kept + length;
    }
    receiver->end[receiver->end_length] = '\0';
}

static void take_ticks(void *taker, const char *data, size_t length) {
    Receiver *receiver = taker;
    tally.garbled += ticks_scan(&receiver->scan, data, length, take_tick, receiver);
}

/* engine.io: "0" opens and is answered by "40", which joins; "2" is a ping. */
static void take_frame(void *taker, const char *start) {
    Receiver *receiver = taker;
    char out[SENT_OVERHEAD + LONGEST_SENT];
    if (start[0] == '0') wire_send(&receiver->source, out, frames_write("40", out));
    if (start[0] == '2') wire_send(&receiver->source, out, frames_write("3", out));
    if (strncmp(start, "40", 2) == 0 && !receiver->established) {
        receiver->established = true;
        tally.established++;
    }
}

static void take_body(void *taker, const char *data, size_t length) {
    Receiver *receiver = taker;
    if (receiver->kind == WEBSOCKET) {
        frames_feed(&receiver->frames, data, length, take_ticks, take_frame, receiver);
        return;
    }
    take_ticks(receiver, data, length);
    if (receiver->kind == LONG_POLL || receiver->kind == POLL) keep_end(receiver, data, length);
}

static void fill(char *out, size_t *length, const char *data, size_t count) {
    if (*length + count > LONGEST_REQUEST) fail("a request is longer than %d bytes", LONGEST_REQUEST);
    memcpy(out + *length, data, count);
    *length += count;
}

static void ask_again(Receiver *receiver) {
    static char request[LONGEST_REQUEST];
    size_t length = 0;
    const char *from = receiver->again.data, *brace;
    while ((brace = strchr(from, '{')) != NULL) {
        fill(request, &length, from, (size_t)(brace - from));
        const char *value = brace[1] == 'c' ? receiver->cursor : receiver->stamp;
        fill(request, &length, value, strlen(value));
        from = strchr(brace, '}') + 1;
    }
    fill(request, &length, from, strlen(from));
    answer_begin(&receiver->answer);
    receiver->end_length = 0;
    receiver->end[0] = '\0';
    wire_send(&receiver->source, request, length);
}

/* Find the last value of a key in the end of a body. */
static const char *value_of(const Receiver *receiver, const char *key) {
    const char *found = NULL, *next = receiver->end;
    while ((next = strstr(next, key)) != NULL) found = next += strlen(key);
    return found;
}

/* Our answers tell the position in the body, nchan's in two header fields. */
static void note_position(Receiver *receiver) {
    const char *cursor = value_of(receiver, "\"cursor\":\"");
    if (cursor != NULL) {
        size_t length = strcspn(cursor, "\"");
        if (length >= POSITION_LENGTH) fail("a cursor is too long");
        memcpy(receiver->cursor, cursor, length);
        receiver->cursor[length] = '\0';
        return;
    }
    answer_field(&receiver->answer, "etag:", receiver->cursor, POSITION_LENGTH);
    answer_field(&receiver->answer, "last-modified:", receiver->stamp, POSITION_LENGTH);
}

static void come_back(Receiver *receiver) {
    tally.turns++;
    note_position(receiver);
    const char *next_poll = value_of(receiver, "\"next_poll_ms\":");
    int64_t pause_ms = next_poll != NULL ? atol(next_poll) : DEFAULT_POLL_MS;
    if (receiver->kind == LONG_POLL || value_of(receiver, "\"more\":true") != NULL)
        ask_again(receiver);
    else
        receiver->due_ns = arrived_ns + pause_ms * 1000000;
}

static bool is_good(const Receiver *receiver) {
    int status = receiver->answer.status;
    if (receiver->kind == WEBSOCKET) return status == 101;
    return status == 200 || (receiver->kind == POLL && status == 304);
}

static void take(Receiver *receiver, const char *data, size_t length) {
    bool had_head = receiver->answer.state != IN_HEAD;
    answer_feed(&receiver->answer, data, length, take_body, receiver);
    if (receiver->answer.state == IN_HEAD) return;
    if (!had_head && !is_good(receiver)) {
        if (tally.refused++ == 0) snprintf(tally.refusal, sizeof tally.refusal, "%.150s", receiver->answer.head);
        lose(receiver);
        return;
    }
    if (!receiver->established && receiver->kind != WEBSOCKET) {
        receiver->established = true;
        tally.established++;
        if (receiver->kind == STALLED) wire_listen(&receiver->source, false);
    }
    if (receiver->answer.state == MALFORMED) {
        tally.garbled++;
        lose(receiver);
    } else if (receiver->answer.state == COMPLETE) {
        if (receiver->kind == LONG_POLL || receiver->kind == POLL)
            come_back(receiver);
        else
            lose(receiver);
    }
}

static void on_ready(Source *source, uint32_t events) {
    Receiver *receiver = (Receiver *)source;
    if (events & EPOLLOUT) {
        wire_listen(source, true);
        wire_send(source, receiver->first.data, receiver->first.length);
        if (receiver->kind == LONG_POLL) { /* held: it is there when it has asked */
            receiver->established = true;
            tally.established++;
        }
        return;
    }
    long length = wire_receive(source);
    if (length <= 0) {
        if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
        lose(receiver);
        return;
    }
    arrived_ns = now_ns();
    tally.reads++;
    tally.bytes += (uint64_t)length;
    take(receiver, wire_buffer, (size_t)length);
}

void receiver_begin(Receiver *receiver, Kind kind, int user, uint32_t lanes, uint16_t port) {
    receiver->source.ready = on_ready;
    receiver->kind = kind;
    receiver->user = user;
    lane_count = lanes;
    receiver->lanes = calloc(lanes, sizeof *receiver->lanes);
    if (receiver->lanes == NULL) fail("no memory");
    answer_begin(&receiver->answer);
    wire_connect(&receiver->source, port, kind == STALLED);
}

void receiver_poll(Receiver *receiver, int64_t now) {
    if (receiver->due_ns == 0 || receiver->due_ns > now || receiver->lost) return;
    receiver->due_ns = 0;
    ask_again(receiver);
}
