#define _GNU_SOURCE
#include "answer.h"

#include <stdlib.h>
#include <string.h>

void answer_begin(Answer *answer) {
    answer->state = IN_HEAD;
    answer->status = 0;
    answer->left = 0;
    answer->head_length = 0;
}

bool answer_field(const Answer *answer, const char *name, char *value, size_t size) {
    const char *line = strstr(answer->head, "\r\n");
    size_t length = strlen(name);
    for (; line != NULL && line[2] != '\0'; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) != 0) continue;
        const char *from = line + 2 + length + strspn(line + 2 + length, " \t");
        size_t extent = strcspn(from, "\r");
        if (extent >= size) return false;
        memcpy(value, from, extent);
        value[extent] = '\0';
        return true;
    }
    return false;
}

static void begin_chunk_size(Answer *answer) {
    answer->state = IN_CHUNK_SIZE;
    answer->left = 0;
    answer->in_size = true;
    answer->line = 0;
}

static AnswerState state_after_head(Answer *answer) {
    char value[64];
    if (strncmp(answer->head, "HTTP/1.1 ", 9) != 0) return MALFORMED;
    answer->status = atoi(answer->head + 9);
    if (answer->status == 101) return UNTIL_CLOSED;
    if (answer->status == 204 || answer->status == 304) return COMPLETE;
    if (answer_field(answer, "transfer-encoding:", value, sizeof value)) {
        begin_chunk_size(answer);
        return strcasecmp(value, "chunked") == 0 ? IN_CHUNK_SIZE : MALFORMED;
    }
    if (!answer_field(answer, "content-length:", value, sizeof value)) return UNTIL_CLOSED;
    answer->left = strtoull(value, NULL, 10);
    return answer->left > 0 ? IN_LENGTH : COMPLETE;
}

static size_t feed_head(Answer *answer, const char *data, size_t length) {
    size_t room = LONGEST_HEAD - answer->head_length, before = answer->head_length;
    size_t taken = length < room ? length : room;
    memcpy(answer->head + before, data, taken);
    size_t from = before > 3 ? before - 3 : 0;
    const char *end = memmem(answer->head + from, before + taken - from, "\r\n\r\n", 4);
    if (end == NULL) {
        answer->head_length += (uint32_t)taken;
        if (answer->head_length == LONGEST_HEAD) answer->state = MALFORMED;
        return taken;
    }
    answer->head_length = (uint32_t)(end + 2 - answer->head);
    answer->head[answer->head_length] = '\0';
    answer->state = state_after_head(answer);
    return answer->head_length + 2 - before;
}

static int digit_of(char character) {
    if (character >= '0' && character <= '9') return character - '0';
    character |= 0x20;
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

static void feed_chunk_size(Answer *answer, char character) {
    int digit = digit_of(character);
    if (character == '\n') {
        if (answer->line == 0)
            answer->state = MALFORMED;
        else
            answer->state = answer->left > 0 ? IN_CHUNK : IN_TRAILER;
        answer->line = 0;
    } else if (answer->in_size && digit >= 0) {
        answer->left = answer->left * 16 + (uint64_t)digit;
        if (++answer->line > 15) answer->state = MALFORMED;
    } else {
        answer->in_size = false; /* an extension, or the carriage return */
        if (answer->line == 0) answer->state = MALFORMED;
    }
}

static void feed_after_chunk(Answer *answer, char character) {
    if (character == '\n')
        begin_chunk_size(answer);
    else if (character != '\r')
        answer->state = MALFORMED;
}

static void feed_trailer(Answer *answer, char character) {
    if (character == '\n') {
        if (answer->line == 0) answer->state = COMPLETE;
        answer->line = 0;
    } else if (character != '\r') {
        answer->line++;
    }
}

static size_t feed_body(Answer *answer, const char *data, size_t length, BodyTaker take, void *taker) {
    size_t taken = length < answer->left ? length : (size_t)answer->left;
    take(taker, data, taken);
    answer->left -= taken;
    if (answer->left == 0) answer->state = answer->state == IN_CHUNK ? AFTER_CHUNK : COMPLETE;
    return taken;
}

size_t answer_feed(Answer *answer, const char *data, size_t length, BodyTaker take, void *taker) {
    size_t at = 0;
    while (at < length && answer->state != COMPLETE && answer->state != MALFORMED) {
        switch (answer->state) {
            case IN_HEAD: at += feed_head(answer, data + at, length - at); break;
            case IN_CHUNK_SIZE: feed_chunk_size(answer, data[at++]); break;
            case AFTER_CHUNK: feed_after_chunk(answer, data[at++]); break;
            case IN_TRAILER: feed_trailer(answer, data[at++]); break;
            case IN_CHUNK:
            case IN_LENGTH: at += feed_body(answer, data + at, length - at, take, taker); break;
            default: take(taker, data + at, length - at); at = length;
        }
    }
    return at;
}
