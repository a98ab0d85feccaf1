/* Ticks: what our events carry to be recognised, `"tick":"<lane>-<number>-<ns>"` in their data.
 *
 * Each lane (a connection that publishes) numbers its events from 0 for each audience. So each client knows of each
 * lane which number comes next: none may be missing, repeated, or out of order. */
#ifndef TICKS_H
#define TICKS_H

#include <stddef.h>
#include <stdint.h>

#define TICK_KEY "\"tick\":\""
#define TICK_MARK "LLLL-NNNNNNNN-TTTTTTTTTTTTTTTT"

enum { KEY_LENGTH = 8, LANE_DIGITS = 4, NUMBER_DIGITS = 8, TIME_DIGITS = 16, MARK_LENGTH = 30, TICK_LENGTH = 38 };

typedef struct {
    uint32_t lane;
    uint32_t number;
    int64_t at_ns;
} Tick;

/* What was left of a text that may have been cut within a tick. */
typedef struct {
    char tail[TICK_LENGTH];
    uint32_t length;
} Scan;

typedef void (*TickTaker)(void *taker, const Tick *tick);

/* Find the ticks of a text that arrives in parts; return how many of them could not be read. */
uint32_t ticks_scan(Scan *scan, const char *data, size_t length, TickTaker take, void *taker);

/* Write a tick's mark (MARK_LENGTH bytes, without key and quote). */
void tick_write(char *out, const Tick *tick);

/* Write a number with leading zeros. */
void digits_write(char *out, uint64_t value, int digits);

/* What comes next of one lane, and the last numbers that were passed over. */
typedef struct {
    uint32_t next;
    uint32_t gap_from;
    uint32_t gap_to;
} Sequence;

typedef struct {
    uint32_t received; /* all, repeated ones too */
    uint32_t repeated;
    uint32_t disordered;
} Verdict;

/* Judge a number by what came before it. What never came shows when `received` is compared with what was sent. */
void sequence_take(Sequence *sequence, Verdict *verdict, uint32_t number);

#endif
