/* judge answer|frames CUT LANES: take what is on the standard input apart in pieces of CUT bytes, as the load does, and
 * tell what was found. For the tests of what must not be wrong unseen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "frames.h"
#include "ticks.h"

typedef struct {
    Scan scan;
    Sequence *lanes;
    uint32_t lane_count;
    Verdict verdict;
    uint32_t garbled;
    uint32_t frames;
} Judge;

static void take_tick(void *taker, const Tick *tick) {
    Judge *judge = taker;
    if (tick->lane < judge->lane_count)
        sequence_take(&judge->lanes[tick->lane], &judge->verdict, tick->number);
    else
        judge->garbled++;
}

static void take_body(void *taker, const char *data, size_t length) {
    Judge *judge = taker;
    judge->garbled += ticks_scan(&judge->scan, data, length, take_tick, judge);
}

static void take_frame(void *taker, const char *start) {
    (void)start;
    ((Judge *)taker)->frames++;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    size_t cut = strtoul(arguments[2], NULL, 10);
    Judge judge = {.lane_count = (uint32_t)strtoul(arguments[3], NULL, 10)};
    judge.lanes = calloc(judge.lane_count, sizeof *judge.lanes);
    Answer answer;
    Frames frames = {0};
    answer_begin(&answer);
    char *data = malloc(cut);
    size_t length;
    while ((length = fread(data, 1, cut, stdin)) > 0) {
        if (strcmp(arguments[1], "frames") == 0)
            frames_feed(&frames, data, length, take_body, take_frame, &judge);
        else
            answer_feed(&answer, data, length, take_body, &judge);
    }
    uint64_t due = 0;
    for (uint32_t lane = 0; lane < judge.lane_count; lane++) due += judge.lanes[lane].next;
    printf("{\"status\":%d,\"complete\":%s,\"malformed\":%s,\"received\":%u,\"missing\":%lld,\"repeated\":%u,"
           "\"disordered\":%u,\"garbled\":%u,\"frames\":%u}\n",
           answer.status, answer.state == COMPLETE ? "true" : "false", answer.state == MALFORMED ? "true" : "false",
           judge.verdict.received, (long long)due - (judge.verdict.received - judge.verdict.repeated),
           judge.verdict.repeated, judge.verdict.disordered, judge.garbled, judge.frames);
    free(data);
    free(judge.lanes);
    return 0;
}
