/* Connections that publish: each sends its next request when the last one was answered and the pace allows it. */
#ifndef PUBLISHER_H
#define PUBLISHER_H

#include "answer.h"
#include "histogram.h"
#include "plan.h"
#include "wire.h"

#define USER_MARK "@@@@@"

enum { USER_DIGITS = 5 };

typedef struct Publisher {
    uint32_t first_lane;
    uint32_t lanes;
    uint32_t users;       /* each event is for the next of them; 0: for everyone */
    uint32_t batch;       /* events in a request */
    uint32_t outstanding; /* events that not all have been given yet; 0: however many */
    double rate;          /* events a second; 0: as fast as it goes */
    uint64_t limit;       /* events in all */
    int64_t most_ns;      /* after which no more are sent, however few there were; 0: until the limit */
    int64_t pause_ns;     /* after all have been given what was outstanding */
    int64_t resume_ns;
    int64_t began_ns;
    int64_t ended_ns;
    uint64_t sent;
    uint64_t answered;
    uint32_t refused;
    uint32_t *to_user;    /* events that each user was sent */
    struct Lane *lane;
    Histogram answers;
    char refusal[160];
} Publisher;

void publisher_begin(Publisher *publisher, Text request, uint16_t port);

/* Send what is due; `deliveries` and `receivers` tell what of it has been given. */
void publisher_turn(Publisher *publisher, int64_t now, uint64_t deliveries, uint64_t receivers);

bool publisher_done(const Publisher *publisher);

/* The events that a client of this user (or nobody's: -1) must have been given. */
uint64_t publisher_due(const Publisher *publisher, int user);

#endif
