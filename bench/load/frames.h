/* WebSocket (RFC 6455) as a client: text frames from the server, cut anywhere; short masked frames to it. */
#ifndef FRAMES_H
#define FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "answer.h"

enum { LONGEST_START = 8, LONGEST_SENT = 125, SENT_OVERHEAD = 6 };

typedef struct {
    unsigned char header[10];
    uint32_t header_length;
    uint64_t left; /* of the frame's content */
    char start[LONGEST_START + 1]; /* of the frame's content, to tell what it is */
    uint32_t start_length;
} Frames;

typedef void (*FrameEnd)(void *taker, const char *start);

/* Take bytes; what frames contain goes to `take`, and each one's beginning to `end` when it is whole. */
void frames_feed(Frames *frames, const char *data, size_t length, BodyTaker take, FrameEnd end, void *taker);

/* Write a text frame of at most LONGEST_SENT bytes into `out`; return its length. */
size_t frames_write(const char *text, char *out);

#endif
