// SPDX-License-Identifier: Apache-2.0
/* Collects the environment and standard input of the call. */
#define _GNU_SOURCE
#include "call.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "answer.h"
#include "protocol.h"

#define INPUT_BYTES_MAX (32 * 1024 * 1024)

struct call call = {.netns_fd = -1, .input_fd = -1};

bool collect_environment(void)
{
	size_t at = sizeof request.header;
	for (char **entry = environ; *entry; entry++) {
		if (strncmp(*entry, "CNI_", 4) != 0)
			continue;
		size_t bytes = strlen(*entry) + 1;
		if (bytes > sizeof request.bytes - at)
			return false;
		memcpy(request.bytes + at, *entry, bytes);
		at += bytes;
	}
	call.environment_bytes = at - sizeof request.header;
	return true;
}

static char *inline_input(void)
{
	return request.bytes + sizeof request.header + call.environment_bytes;
}

static size_t read_input(char *into, size_t room)
{
	for (;;) {
		ssize_t got = read(STDIN_FILENO, into, room);
		if (got >= 0)
			return (size_t)got;
		if (errno == EAGAIN)
			wait_for(STDIN_FILENO, POLLIN);
		else if (errno != EINTR)
			return 0; /* unreadable input counts as empty, which the parser refuses */
	}
}

static _Noreturn void fail_without_memory(void)
{
	fail(ERROR(5, "standard input could not be kept in memory: is the node out of memory?"));
}

void move_input_to_memfd(void)
{
	if (call.input_fd >= 0)
		return;
	call.input_fd = memfd_create("podwire-stdin", MFD_CLOEXEC);
	if (call.input_fd < 0 || !write_all(call.input_fd, inline_input(), call.input_bytes))
		fail_without_memory();
}

void collect_input(void)
{
	size_t room = (size_t)(request.bytes + sizeof request.bytes - inline_input()), got;

	while (call.input_bytes < room && (got = read_input(inline_input() + call.input_bytes, room - call.input_bytes)) > 0)
		call.input_bytes += got;
	if (call.input_bytes == room) {
		move_input_to_memfd();
		while ((got = read_input(reply.bytes, sizeof reply.bytes)) > 0) { /* the reply's buffer is free until later */
			call.input_bytes += got;
			if (call.input_bytes > INPUT_BYTES_MAX)
				fail(ERROR(6, "the network configuration on standard input is larger than 32 MiB"));
			if (!write_all(call.input_fd, reply.bytes, got))
				fail_without_memory();
		}
	}
	call.input_complete = true;
}
