/* Non-blocking connections to 127.0.0.1, and the one loop that waits for them. */
#ifndef WIRE_H
#define WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

/* What epoll tells of: the first field of everything that has a socket. */
typedef struct Source {
    void (*ready)(struct Source *source, uint32_t events);
    int fd;
} Source;

void wire_open_loop(void);

/* Wait at most so long, and let sources take what there is. */
void wire_turn(int timeout_ms);

/* Begin to connect; the source is told (EPOLLOUT) when it may write. It ends by a reset, so that no port stays taken.
 * `narrow`: the systems on both sides keep little for it that is not read, as on a network; over the loopback, with its
 * huge segments, they would take megabytes. */
void wire_connect(Source *source, uint16_t port, bool narrow);

/* From now on tell the source of what arrives, or of nothing at all. */
void wire_listen(Source *source, bool wanted);

void wire_close(Source *source);

/* Write all of it; requests are short, so a socket that doesn't take one whole is an error. */
void wire_send(Source *source, const char *data, size_t length);

/* The one buffer that everything is read into; returns what recv(2) does. */
extern char wire_buffer[1 << 19];
long wire_receive(Source *source);

/* Say what went wrong, and end. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

#endif
