/* requests < PLAN: ask the same thing again and again over some connections, and judge each answer.
 *
 *   PORT CONNECTIONS COUNT STATUS, the request, and a text that each body must have (it may be empty)
 *
 * It says "ready" when all are connected and goes on at the next line; prints one JSON object; lets go at the end of
 * the standard input. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "answer.h"
#include "clock.h"
#include "histogram.h"
#include "plan.h"
#include "wire.h"

enum { PATIENCE_S = 60, BODY_KEPT = 1024 };

typedef struct {
    Source source;
    Answer answer;
    char body[BODY_KEPT];
    size_t body_length;
    int64_t asked_ns;
} Asker;

static Text request, wanted;
static int status;
static long connected, left, under_way, answers, bad;
static Histogram latency;

static void ask(Asker *asker) {
    if (left <= 0) return;
    left--;
    under_way++;
    answer_begin(&asker->answer);
    asker->body_length = 0;
    asker->asked_ns = now_ns();
    wire_send(&asker->source, request.data, request.length);
}

static void take_body(void *taker, const char *data, size_t length) {
    Asker *asker = taker;
    size_t room = BODY_KEPT - asker->body_length, taken = length < room ? length : room;
    memcpy(asker->body + asker->body_length, data, taken);
    asker->body_length += taken;
}

static void judge(const Asker *asker) {
    bool has = wanted.length == 0 || memmem(asker->body, asker->body_length, wanted.data, wanted.length) != NULL;
    if (asker->answer.status == status && has) return;
    if (bad++ == 0) fprintf(stderr, "not as wanted: %.200s\n%.*s\n", asker->answer.head, (int)asker->body_length,
                            asker->body);
}

static void on_ready(Source *source, uint32_t events) {
    Asker *asker = (Asker *)source;
    if (events & EPOLLOUT) {
        wire_listen(source, true);
        connected++;
        return;
    }
    long length = wire_receive(source);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (length <= 0) fail("the server closed a connection");
    answer_feed(&asker->answer, wire_buffer, (size_t)length, take_body, asker);
    if (asker->answer.state == MALFORMED) fail("an answer is malformed");
    if (asker->answer.state != COMPLETE) return;
    histogram_note(&latency, now_ns() - asker->asked_ns);
    judge(asker);
    answers++;
    under_way--;
    ask(asker);
}

int main(void) {
    uint16_t port = (uint16_t)plan_number();
    long count = plan_number();
    left = plan_number();
    status = (int)plan_number();
    request = plan_text();
    wanted = plan_text();
    wire_open_loop();
    Asker *askers = calloc((size_t)count, sizeof *askers);
    if (askers == NULL) fail("no memory");
    for (long at = 0; at < count; at++) {
        askers[at].source.ready = on_ready;
        wire_connect(&askers[at].source, port, false);
    }
    int64_t deadline = now_ns() + PATIENCE_S * 1000000000LL;
    while (connected < count && now_ns() < deadline) wire_turn(100);
    plan_say("ready");
    plan_wait();
    int64_t cpu = own_cpu_ns(), started = now_ns();
    for (long at = 0; at < count; at++) ask(&askers[at]);
    while (under_way > 0 && now_ns() < deadline) wire_turn(100);
    printf("{\"answers\":%ld,\"bad\":%ld,\"unanswered\":%ld,\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"answer_ms\":",
           answers, bad, under_way, (double)(now_ns() - started) / 1e9, (double)(own_cpu_ns() - cpu) / 1e9);
    histogram_print(&latency, stdout);
    printf("}\n");
    fflush(stdout);
    plan_wait();
    return 0;
}
