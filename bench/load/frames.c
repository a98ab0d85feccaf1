#include "frames.h"

#include <string.h>

static size_t header_size(const Frames *frames) {
    if (frames->header_length < 2) return 2;
    unsigned char length = frames->header[1] & 0x7f;
    return length == 126 ? 4 : length == 127 ? 10 : 2;
}

static uint64_t content_length(const Frames *frames) {
    size_t size = header_size(frames);
    if (size == 2) return frames->header[1] & 0x7f;
    uint64_t length = 0;
    for (size_t at = 2; at < size; at++) length = length << 8 | frames->header[at];
    return length;
}

static void note_start(Frames *frames, const char *data, size_t length) {
    size_t room = LONGEST_START - frames->start_length;
    size_t taken = length < room ? length : room;
    memcpy(frames->start + frames->start_length, data, taken);
    frames->start_length += (uint32_t)taken;
    frames->start[frames->start_length] = '\0';
}

static void finish(Frames *frames, FrameEnd end, void *taker) {
    frames->start[frames->start_length] = '\0';
    end(taker, frames->start);
    frames->header_length = 0;
    frames->start_length = 0;
}

void frames_feed(Frames *frames, const char *data, size_t length, BodyTaker take, FrameEnd end, void *taker) {
    size_t at = 0;
    while (at < length) {
        if (frames->left == 0) {
            frames->header[frames->header_length++] = (unsigned char)data[at++];
            if (frames->header_length < header_size(frames)) continue;
            frames->left = content_length(frames);
            if (frames->left == 0) finish(frames, end, taker);
            continue;
        }
        size_t taken = length - at < frames->left ? length - at : (size_t)frames->left;
        note_start(frames, data + at, taken);
        take(taker, data + at, taken);
        at += taken;
        frames->left -= taken;
        if (frames->left == 0) finish(frames, end, taker);
    }
}

size_t frames_write(const char *text, char *out) {
    size_t length = strlen(text);
    if (length > LONGEST_SENT) length = LONGEST_SENT;
    out[0] = (char)0x81;
    out[1] = (char)(0x80 | length);
    memset(out + 2, 0, 4); /* a mask of zeros leaves the text as it is */
    memcpy(out + SENT_OVERHEAD, text, length);
    return SENT_OVERHEAD + length;
}
