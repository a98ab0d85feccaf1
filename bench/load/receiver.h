/* Clients that are given events, and judge what they were given: streams, WebSockets, long-polls, polls. */
#ifndef RECEIVER_H
#define RECEIVER_H

#include "answer.h"
#include "frames.h"
#include "histogram.h"
#include "plan.h"
#include "ticks.h"
#include "wire.h"

typedef enum { SSE, WEBSOCKET, LONG_POLL, POLL, STALLED, KINDS } Kind;

extern const char *const KIND_NAMES[KINDS];

enum { END_LENGTH = 512, POSITION_LENGTH = 96 };

typedef struct {
    Source source;
    Kind kind;
    int user; /* whose events it is given beside those for everyone; -1: nobody's */
    bool established;
    bool lost;
    Text first;  /* request */
    Text again;  /* request of one that polls, with {cursor} and {stamp} */
    char cursor[POSITION_LENGTH];
    char stamp[POSITION_LENGTH];
    int64_t due_ns; /* when it polls next */
    Answer answer;
    Frames frames;
    Scan scan;
    Verdict verdict;
    Sequence *lanes;
    char end[END_LENGTH + 1]; /* of a body: where the position is */
    size_t end_length;
} Receiver;

/* What all of them had. */
typedef struct {
    uint64_t received;
    uint64_t reads;
    uint64_t bytes;
    uint32_t established;
    uint32_t refused;
    uint32_t lost;
    uint32_t garbled;
    uint32_t turns; /* answers to those that poll */
    int64_t last_ns; /* when the last event came */
    char refusal[160];
    Histogram latency[KINDS];
} Tally;

extern Tally tally;

void receiver_begin(Receiver *receiver, Kind kind, int user, uint32_t lanes, uint16_t port);

/* Let one that polls ask when its time has come. */
void receiver_poll(Receiver *receiver, int64_t now);

#endif
