#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_A_TURN = 64, LITTLE_ROOM = 4096, ETHERNET_SEGMENT = 1400 };

char wire_buffer[1 << 19];
static int loop_fd;

void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}

void wire_open_loop(void) {
    loop_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop_fd < 0) fail("epoll_create1: %s", strerror(errno));
}

void wire_turn(int timeout_ms) {
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(loop_fd, events, EVENTS_A_TURN, timeout_ms);
    for (int at = 0; at < count; at++) {
        Source *source = events[at].data.ptr;
        if (source->fd >= 0) source->ready(source, events[at].events);
    }
}

static void control(Source *source, int what, uint32_t wanted) {
    struct epoll_event event = {.events = wanted, .data.ptr = source};
    if (epoll_ctl(loop_fd, what, source->fd, &event) != 0) fail("epoll_ctl: %s", strerror(errno));
}

void wire_connect(Source *source, uint16_t port, bool narrow) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    source->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (source->fd < 0) fail("socket: %s", strerror(errno));
    int yes = 1;
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(source->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(source->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (narrow) {
        int room = LITTLE_ROOM, segment = ETHERNET_SEGMENT;
        setsockopt(source->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        setsockopt(source->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    if (connect(source->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    control(source, EPOLL_CTL_ADD, EPOLLOUT);
}

void wire_listen(Source *source, bool wanted) { control(source, EPOLL_CTL_MOD, wanted ? EPOLLIN : 0); }

void wire_close(Source *source) {
    if (source->fd >= 0) close(source->fd);
    source->fd = -1;
}

void wire_send(Source *source, const char *data, size_t length) {
    ssize_t sent = send(source->fd, data, length, MSG_NOSIGNAL);
    if (sent != (ssize_t)length) fail("send: %zd of %zu bytes: %s", sent, length, strerror(errno));
}

long wire_receive(Source *source) { return recv(source->fd, wire_buffer, sizeof wire_buffer, 0); }
