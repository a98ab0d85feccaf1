#define _GNU_SOURCE
#include "publisher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "clock.h"
#include "ticks.h"

typedef struct Lane {
    Source source;
    Publisher *publisher;
    Answer answer;
    Text request;
    char **ticks; /* where the marks are in the request */
    char **users;
    uint32_t number;
    uint32_t next_user;
    bool busy;
    int64_t asked_ns;
} Lane;

static void ignore(void *taker, const char *data, size_t length) {
    (void)taker, (void)data, (void)length;
}

static void on_ready(Source *source, uint32_t events) {
    Lane *lane = (Lane *)source;
    Publisher *publisher = lane->publisher;
    if (events & EPOLLOUT) {
        wire_listen(source, true);
        lane->busy = false;
        return;
    }
    long length = wire_receive(source);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (length <= 0) fail("the server closed a publisher's connection");
    answer_feed(&lane->answer, wire_buffer, (size_t)length, ignore, NULL);
    if (lane->answer.state == MALFORMED) fail("the answer to a publisher is malformed");
    if (lane->answer.state != COMPLETE) return;
    int64_t now = now_ns();
    if (lane->answer.status / 100 != 2 && publisher->refused++ == 0)
        snprintf(publisher->refusal, sizeof publisher->refusal, "%.150s", lane->answer.head);
    histogram_note(&publisher->answers, now - lane->asked_ns);
    publisher->answered += publisher->batch;
    publisher->ended_ns = now;
    lane->busy = false;
}

static uint32_t find_marks(const Text *text, const char *mark, char ***places) {
    uint32_t count = 0;
    for (char *at = text->data; (at = strstr(at, mark)) != NULL; at += strlen(mark)) {
        *places = realloc(*places, (count + 1) * sizeof **places);
        if (*places == NULL) fail("no memory");
        (*places)[count++] = at;
    }
    return count;
}

static Text copy_of(Text text) {
    Text copy = {malloc(text.length + 1), text.length};
    if (copy.data == NULL) fail("no memory");
    memcpy(copy.data, text.data, text.length + 1);
    return copy;
}

void publisher_begin(Publisher *publisher, Text request, uint16_t port) {
    publisher->lane = calloc(publisher->lanes, sizeof *publisher->lane);
    publisher->to_user = calloc(publisher->users + 1, sizeof *publisher->to_user);
    if (publisher->lane == NULL || publisher->to_user == NULL) fail("no memory");
    for (uint32_t at = 0; at < publisher->lanes; at++) {
        Lane *lane = &publisher->lane[at];
        lane->publisher = publisher;
        lane->source.ready = on_ready;
        lane->request = copy_of(request);
        publisher->batch = find_marks(&lane->request, TICK_MARK, &lane->ticks);
        uint32_t users = find_marks(&lane->request, USER_MARK, &lane->users);
        if (publisher->batch == 0) fail("the request to publish has no mark for a tick");
        if (publisher->users > 0 && users != publisher->batch) fail("the request to publish lacks marks for users");
        lane->next_user = at;
        lane->busy = true;
        wire_connect(&lane->source, port, false);
    }
}

/* Users are dealt out among the lanes, so that each user's events are numbered by one lane. */
static uint32_t number_for(Publisher *publisher, Lane *lane, uint32_t event) {
    if (publisher->users == 0) return lane->number++;
    uint32_t user = lane->next_user;
    digits_write(lane->users[event], user, USER_DIGITS);
    lane->next_user = user + publisher->lanes;
    if (lane->next_user >= publisher->users) lane->next_user %= publisher->lanes;
    return publisher->to_user[user]++;
}

static void send_request(Publisher *publisher, Lane *lane, int64_t now) {
    Tick tick = {publisher->first_lane + (uint32_t)(lane - publisher->lane), 0, now};
    for (uint32_t event = 0; event < publisher->batch; event++) {
        tick.number = number_for(publisher, lane, event);
        tick_write(lane->ticks[event], &tick);
    }
    answer_begin(&lane->answer);
    lane->busy = true;
    lane->asked_ns = now;
    publisher->sent += publisher->batch;
    wire_send(&lane->source, lane->request.data, lane->request.length);
}

static bool is_due(Publisher *publisher, int64_t now, uint64_t deliveries, uint64_t receivers) {
    if (publisher->most_ns > 0 && now - publisher->began_ns > publisher->most_ns) publisher->limit = publisher->sent;
    if (publisher->sent >= publisher->limit) return false;
    if (publisher->rate > 0 && (double)(now - publisher->began_ns) * publisher->rate / 1e9 < (double)publisher->sent)
        return false;
    if (publisher->outstanding == 0) return true;
    if (deliveries + (uint64_t)publisher->outstanding * receivers < (publisher->sent + 1) * receivers) {
        publisher->resume_ns = 0;
        return false;
    }
    if (publisher->resume_ns == 0) publisher->resume_ns = now + publisher->pause_ns;
    return now >= publisher->resume_ns;
}

void publisher_turn(Publisher *publisher, int64_t now, uint64_t deliveries, uint64_t receivers) {
    if (publisher->began_ns == 0) publisher->began_ns = publisher->ended_ns = now;
    for (uint32_t at = 0; at < publisher->lanes; at++) {
        if (publisher->lane[at].busy) continue;
        if (!is_due(publisher, now, deliveries, receivers)) return;
        send_request(publisher, &publisher->lane[at], now_ns());
    }
}

bool publisher_done(const Publisher *publisher) { return publisher->answered >= publisher->limit; }

uint64_t publisher_due(const Publisher *publisher, int user) {
    if (publisher->users == 0) return publisher->sent;
    return user >= 0 && (uint32_t)user < publisher->users ? publisher->to_user[user] : 0;
}
