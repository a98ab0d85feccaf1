/* audience < PLAN: open clients that receive, then publish, and judge what each client was given.
 *
 *   port N                        of the server, on 127.0.0.1
 *   at_once N                     connections that are being established at the same time; 0: all
 *   earlier LANES EVENTS          each lane has sent so many events to everyone before
 *   grace_ms N                    how long to wait, after the last event was published, until all have everything
 *   receivers KIND COUNT          then for each: its user (-1: none) and its request; if it polls, the one for again too
 *   publisher LANES RATE LIMIT OUTSTANDING PAUSE_MS USERS MOST_MS   and the request
 *   end
 *
 * It says "ready" when everyone is there and goes on at the next line; prints one JSON object; lets go at the end of
 * the standard input. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "publisher.h"
#include "receiver.h"

enum { MOST_PUBLISHERS = 4, PATIENCE_S = 60, LAST_POLLS_MS = 500 };

static Receiver *receivers;
static uint32_t receiver_count, poller_count;
static Publisher publishers[MOST_PUBLISHERS];
static Text requests[MOST_PUBLISHERS];
static uint32_t publisher_count, lane_count, earlier_lanes;
static uint64_t earlier_events;
static uint16_t port;
static uint32_t at_once;
static int64_t grace_ns;

static Kind kind_of(const char *word) {
    for (Kind kind = 0; kind < KINDS; kind++)
        if (strcmp(word, KIND_NAMES[kind]) == 0) return kind;
    fail("no such kind of client: %s", word);
}

static void read_receivers(void) {
    Kind kind = kind_of(plan_word());
    uint32_t count = (uint32_t)plan_number();
    receivers = realloc(receivers, (receiver_count + count) * sizeof *receivers);
    if (receivers == NULL) fail("no memory");
    memset(receivers + receiver_count, 0, count * sizeof *receivers);
    for (uint32_t at = 0; at < count; at++) {
        Receiver *receiver = &receivers[receiver_count++];
        receiver->kind = kind;
        receiver->user = (int)plan_number();
        receiver->first = plan_text();
        if (kind == LONG_POLL || kind == POLL) receiver->again = plan_text();
        poller_count += kind == POLL;
    }
}

static void read_publisher(void) {
    if (publisher_count == MOST_PUBLISHERS) fail("too many publishers");
    Publisher *publisher = &publishers[publisher_count];
    publisher->first_lane = lane_count;
    publisher->lanes = (uint32_t)plan_number();
    publisher->rate = (double)plan_number();
    publisher->limit = (uint64_t)plan_number();
    publisher->outstanding = (uint32_t)plan_number();
    publisher->pause_ns = plan_number() * 1000000;
    publisher->users = (uint32_t)plan_number();
    publisher->most_ns = plan_number() * 1000000;
    requests[publisher_count++] = plan_text();
    lane_count += publisher->lanes;
}

static void read_plan(void) {
    for (const char *word = plan_word(); strcmp(word, "end") != 0; word = plan_word()) {
        if (strcmp(word, "port") == 0) port = (uint16_t)plan_number();
        else if (strcmp(word, "at_once") == 0) at_once = (uint32_t)plan_number();
        else if (strcmp(word, "grace_ms") == 0) grace_ns = plan_number() * 1000000;
        else if (strcmp(word, "receivers") == 0) read_receivers();
        else if (strcmp(word, "publisher") == 0) read_publisher();
        else if (strcmp(word, "earlier") == 0) {
            lane_count = earlier_lanes = (uint32_t)plan_number();
            earlier_events = (uint64_t)plan_number();
        } else fail("the plan has an unknown word: %s", word);
    }
}

static void connect_all(void) {
    int64_t deadline = now_ns() + PATIENCE_S * 1000000000LL;
    uint32_t begun = 0;
    for (uint32_t at = 0; at < publisher_count; at++) publisher_begin(&publishers[at], requests[at], port);
    while (tally.established + tally.lost < receiver_count) {
        uint32_t settled = tally.established + tally.lost;
        while (begun < receiver_count && (at_once == 0 || begun - settled < at_once)) {
            Receiver *receiver = &receivers[begun++];
            receiver_begin(receiver, receiver->kind, receiver->user, lane_count, port);
        }
        wire_turn(100);
        if (now_ns() > deadline) fail("%u of %u clients were established within %d s", tally.established,
                                      receiver_count, PATIENCE_S);
    }
}

static bool all_published(void) {
    for (uint32_t at = 0; at < publisher_count; at++)
        if (!publisher_done(&publishers[at])) return false;
    return true;
}

static uint64_t due_of(const Receiver *receiver) {
    if (receiver->kind == STALLED) return 0;
    uint64_t due = (uint64_t)earlier_lanes * earlier_events;
    for (uint32_t at = 0; at < publisher_count; at++) due += publisher_due(&publishers[at], receiver->user);
    return due;
}

static uint64_t due_of_all(void) {
    uint64_t due = 0;
    for (uint32_t at = 0; at < receiver_count; at++) due += due_of(&receivers[at]);
    return due;
}

static uint32_t count_receiving(void) {
    uint32_t count = 0;
    for (uint32_t at = 0; at < receiver_count; at++) count += receivers[at].kind != STALLED && !receivers[at].lost;
    return count;
}

/* Those that poll in their time don't wait for it once all is published. */
static void hurry(int64_t now) {
    for (uint32_t at = 0; at < receiver_count; at++)
        if (receivers[at].due_ns > 0)
            receivers[at].due_ns = now + (int64_t)at * LAST_POLLS_MS * 1000000 / receiver_count;
}

static void turn(int64_t now, uint32_t receiving) {
    for (uint32_t at = 0; at < publisher_count; at++)
        publisher_turn(&publishers[at], now, tally.received, receiving);
    if (poller_count > 0)
        for (uint32_t at = 0; at < receiver_count; at++) receiver_poll(&receivers[at], now);
    wire_turn(1);
}

static void run(void) {
    uint32_t receiving = count_receiving();
    int64_t deadline = now_ns() + PATIENCE_S * 1000000000LL;
    while (!all_published() && now_ns() < deadline) turn(now_ns(), receiving);
    uint64_t due = due_of_all();
    deadline = now_ns() + grace_ns;
    hurry(now_ns());
    while (tally.received < due && now_ns() < deadline) turn(now_ns(), receiving);
}

static void print_latencies(void) {
    printf("\"latency_ms\":{");
    const char *comma = "";
    for (Kind kind = 0; kind < KINDS; kind++) {
        if (tally.latency[kind].total == 0) continue;
        printf("%s\"%s\":", comma, KIND_NAMES[kind]);
        histogram_print(&tally.latency[kind], stdout);
        comma = ",";
    }
    printf("},\"publish_ms\":");
    histogram_print(&publishers[0].answers, stdout);
}

static void print_result(int64_t took_ns, int64_t cpu_ns, int64_t connect_ns, int64_t began_ns) {
    Verdict sum = {0};
    uint64_t missing = 0, sent = 0;
    uint32_t refused = tally.refused;
    int64_t published_ns = 0;
    for (uint32_t at = 0; at < receiver_count; at++) {
        const Verdict *verdict = &receivers[at].verdict;
        uint64_t due = due_of(&receivers[at]), distinct = verdict->received - verdict->repeated;
        missing += due > distinct ? due - distinct : 0;
        sum.repeated += verdict->repeated;
        sum.disordered += verdict->disordered;
    }
    for (uint32_t at = 0; at < publisher_count; at++) {
        sent += publishers[at].sent;
        refused += publishers[at].refused;
        if (publishers[at].refused > 0) memcpy(tally.refusal, publishers[at].refusal, sizeof tally.refusal);
        int64_t span = publishers[at].ended_ns - publishers[at].began_ns;
        if (span > published_ns) published_ns = span;
    }
    for (char *at = tally.refusal; *at != '\0'; at++)
        if (*at < ' ' || *at == '"' || *at == '\\') *at = ' ';
    printf("{\"receivers\":%u,\"sent\":%llu,\"due\":%llu,\"received\":%llu,\"missing\":%llu,\"repeated\":%u,"
           "\"disordered\":%u,\"garbled\":%u,\"lost\":%u,\"refused\":%u,\"refusal\":\"%s\",\"reads\":%llu,"
           "\"bytes\":%llu,\"turns\":%u,",
           receiver_count, (unsigned long long)sent, (unsigned long long)due_of_all(),
           (unsigned long long)tally.received, (unsigned long long)missing, sum.repeated, sum.disordered, tally.garbled,
           tally.lost, refused, tally.refusal, (unsigned long long)tally.reads, (unsigned long long)tally.bytes,
           tally.turns);
    printf("\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"connect_seconds\":%.6f,\"served_seconds\":%.6f,"
           "\"publish_seconds\":%.6f,",
           (double)took_ns / 1e9, (double)cpu_ns / 1e9, (double)connect_ns / 1e9,
           (double)(tally.last_ns > began_ns ? tally.last_ns - began_ns : 0) / 1e9, (double)published_ns / 1e9);
    print_latencies();
    printf("}\n");
    fflush(stdout);
}

int main(void) {
    read_plan();
    wire_open_loop();
    int64_t began = now_ns();
    connect_all();
    int64_t connected = now_ns();
    plan_say("ready");
    plan_wait();
    int64_t cpu = own_cpu_ns(), started = now_ns();
    run();
    print_result(now_ns() - started, own_cpu_ns() - cpu, connected - began, began);
    plan_wait();
    return 0;
}
