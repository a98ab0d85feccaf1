/* One answer of HTTP/1.1 (RFC 9112), taken apart as its bytes arrive: they may be cut anywhere. */
#ifndef ANSWER_H
#define ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LONGEST_HEAD = 2048 };

typedef enum {
    IN_HEAD,
    IN_CHUNK_SIZE,
    IN_CHUNK,
    AFTER_CHUNK,
    IN_TRAILER,
    IN_LENGTH,
    UNTIL_CLOSED,
    COMPLETE,
    MALFORMED,
} AnswerState;

typedef struct {
    AnswerState state;
    int status;
    uint64_t left;  /* of the chunk, or of the body */
    bool in_size;   /* of a chunk's first line: digits are read, extensions are not */
    uint32_t line;  /* bytes of the line so far */
    uint32_t head_length;
    char head[LONGEST_HEAD + 1];
} Answer;

typedef void (*BodyTaker)(void *taker, const char *data, size_t length);

void answer_begin(Answer *answer);

/* Take bytes until the answer is complete or malformed; return how many were taken. Parts of the body go to `take`. */
size_t answer_feed(Answer *answer, const char *data, size_t length, BodyTaker take, void *taker);

/* Copy the value of a header field (`name` in lower case, with its colon) of a complete head; false: it has none. */
bool answer_field(const Answer *answer, const char *name, char *value, size_t size);

#endif
