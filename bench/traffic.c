// SPDX-License-Identifier: Apache-2.0
/* Measures TCP between two network namespaces: `traffic stream|exchange CLIENT SERVER ADDRESS SECONDS CPUS`.
 *
 * CLIENT and SERVER are paths of network namespaces, ADDRESS (IPv4 or IPv6) is the server's, CPUS is `free`, or two
 * numbers `C,S` to which client and server are bound. The client's process is the parent of the server's.
 *   stream:   the client sends at full speed; prints the bytes that the server received and the seconds.
 *   exchange: one byte to the server and one back, one at a time; prints their number, the seconds and percentiles.
 * Prints one line of JSON. An error is printed on standard error, with a status other than 0.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT 7112
#define CHUNK_BYTES (128 * 1024)
#define EXCHANGES_MAX (4 * 1000 * 1000)
#define TIMEOUT_SECONDS 10 /* for one byte */
#define WARM_UP 1000

static char chunk[CHUNK_BYTES];
static uint32_t took_ns[EXCHANGES_MAX];

static double now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void enter(const char *path)
{
	int netns = open(path, O_RDONLY | O_CLOEXEC);
	if (netns < 0 || setns(netns, CLONE_NEWNET) < 0)
		err(1, "%s", path);
	close(netns);
}

static void bind_to(int cpu)
{
	cpu_set_t only;
	if (cpu < 0)
		return;
	CPU_ZERO(&only);
	CPU_SET(cpu, &only);
	if (sched_setaffinity(0, sizeof only, &only) < 0)
		err(1, "cpu %d", cpu);
}

static socklen_t parse(const char *text, struct sockaddr_storage *address)
{
	struct sockaddr_in *four = (struct sockaddr_in *)address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
	memset(address, 0, sizeof *address);
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(PORT);
		return sizeof *four;
	}
	if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1)
		errx(1, "%s is not an IP address", text);
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(PORT);
	return sizeof *six;
}

/* Sets a socket's timeouts, and TCP_NODELAY: small messages are sent at once. */
static int prepared(int fd)
{
	int one = 1;
	struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
	if (fd < 0)
		err(1, "socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

/* The server: sends each byte back (exchange), or receives all bytes and sends their number (stream). */
static void serve(int listener, bool exchange)
{
	uint64_t bytes = 0;
	ssize_t got;
	int fd = prepared(accept(listener, NULL, NULL));
	while ((got = recv(fd, chunk, exchange ? 1 : sizeof chunk, 0)) > 0) {
		bytes += (uint64_t)got;
		if (exchange && send(fd, chunk, 1, MSG_NOSIGNAL) != 1)
			err(1, "server: send");
	}
	if (got < 0)
		err(1, "server: recv");
	if (!exchange && send(fd, &bytes, sizeof bytes, MSG_NOSIGNAL) != sizeof bytes)
		err(1, "server: send");
	exit(0);
}

static void one_exchange(int fd)
{
	if (send(fd, chunk, 1, MSG_NOSIGNAL) != 1 || recv(fd, chunk, 1, 0) != 1)
		err(1, "client");
}

static int ascending(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
	return (a > b) - (a < b);
}

static void exchanges(int fd, double seconds)
{
	size_t count = 0;
	double started, before, after;
	for (int warm = 0; warm < WARM_UP; warm++)
		one_exchange(fd);
	started = before = now();
	do {
		one_exchange(fd);
		after = now();
		took_ns[count++] = (uint32_t)((after - before) * 1e9);
		before = after;
	} while (after - started < seconds && count < EXCHANGES_MAX);
	qsort(took_ns, count, sizeof *took_ns, ascending);
	printf("{\"count\": %zu, \"seconds\": %.6f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n", count, after - started,
		took_ns[count / 2] / 1e3, took_ns[count * 99 / 100] / 1e3);
}

static void stream(int fd, double seconds)
{
	uint64_t bytes = 0;
	double started = now();
	while (now() - started < seconds)
		if (send(fd, chunk, sizeof chunk, MSG_NOSIGNAL) < 0)
			err(1, "client: send");
	shutdown(fd, SHUT_WR);
	if (recv(fd, &bytes, sizeof bytes, MSG_WAITALL) != sizeof bytes) /* the server has received everything */
		err(1, "client: recv");
	printf("{\"bytes\": %llu, \"seconds\": %.6f}\n", (unsigned long long)bytes, now() - started);
}

int main(int argc, char **argv)
{
	struct sockaddr_storage address;
	int client_cpu = -1, server_cpu = -1, one = 1, status = 0;
	if (argc != 7)
		errx(2, "stream|exchange CLIENT SERVER ADDRESS SECONDS free|C,S");
	bool exchange = strcmp(argv[1], "exchange") == 0;
	socklen_t size = parse(argv[4], &address);
	sscanf(argv[6], "%d,%d", &client_cpu, &server_cpu);

	enter(argv[3]); /* the server listens before the fork, so that the client can connect */
	int listener = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1) < 0)
		err(1, "listen on %s", argv[4]);
	pid_t server = fork();
	if (server < 0)
		err(1, "fork");
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		bind_to(server_cpu);
		serve(listener, exchange);
	}
	close(listener);
	enter(argv[2]);
	bind_to(client_cpu);
	int fd = prepared(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
	if (connect(fd, (struct sockaddr *)&address, size) < 0)
		err(1, "connect to %s", argv[4]);
	if (exchange)
		exchanges(fd, atof(argv[5]));
	else
		stream(fd, atof(argv[5]));
	close(fd);
	if (waitpid(server, &status, 0) < 0 || status != 0)
		errx(1, "the server ended with status %#x", (unsigned)status);
	return 0;
}
