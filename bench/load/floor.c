/* floor: the least that a delivery can cost on this machine. It keeps the sockets that asked for /stream, and send()s
 * each body that is posted to all of them, framed as a chunk. It checks nothing, remembers nothing, authenticates
 * nobody. Its argument is the port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_FILES = 1 << 17, LONGEST_REQUEST = 1 << 16, EVENTS_A_TURN = 256 };

static const char STREAM[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char TAKEN[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

static int streams[MOST_FILES], places[MOST_FILES], stream_count;

static void add_stream(int fd) {
    places[fd] = stream_count;
    streams[stream_count++] = fd;
}

static void leave(int fd) {
    int place = places[fd];
    if (place < stream_count && streams[place] == fd) {
        streams[place] = streams[--stream_count];
        places[streams[place]] = place;
    }
    close(fd);
}

static void deliver(const char *body, size_t length) {
    static char chunk[LONGEST_REQUEST + 32];
    int size = snprintf(chunk, sizeof chunk, "%zx\r\n%.*s\r\n", length, (int)length, body);
    for (int at = 0; at < stream_count; at++) {
        /* A full socket misses it: the load will find out. */
        if (send(streams[at], chunk, (size_t)size, MSG_NOSIGNAL) != size) fputs("floor: a socket was full\n", stderr);
    }
}

static void serve(int fd) {
    static char request[LONGEST_REQUEST + 1];
    ssize_t length = recv(fd, request, LONGEST_REQUEST, 0);
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN) leave(fd);
        return;
    }
    request[length] = '\0';
    if (strncmp(request, "GET ", 4) == 0) {
        send(fd, STREAM, sizeof STREAM - 1, MSG_NOSIGNAL);
        add_stream(fd);
        return;
    }
    const char *body = strstr(request, "\r\n\r\n"); /* requests of the bench come in one piece */
    if (body == NULL) {
        leave(fd);
        return;
    }
    send(fd, TAKEN, sizeof TAKEN - 1, MSG_NOSIGNAL);
    deliver(body + 4, (size_t)(request + length - body - 4));
}

static void watch(int loop, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
}

static void accept_all(int loop, int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MOST_FILES) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        places[fd] = MOST_FILES;
        watch(loop, fd);
    }
}

int main(int count_of_arguments, char **arguments) {
    if (count_of_arguments != 2) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)atoi(arguments[1]));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, SOMAXCONN) != 0) {
        perror("floor");
        return 1;
    }
    int loop = epoll_create1(EPOLL_CLOEXEC);
    watch(loop, listener);
    for (;;) {
        struct epoll_event events[EVENTS_A_TURN];
        int count = epoll_wait(loop, events, EVENTS_A_TURN, -1);
        for (int at = 0; at < count; at++) {
            if (events[at].data.fd == listener)
                accept_all(loop, listener);
            else
                serve(events[at].data.fd);
        }
    }
}
