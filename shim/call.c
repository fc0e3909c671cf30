// SPDX-License-Identifier: Apache-2.0
/* Collects the environment and standard input of the call. */
#include "shim.h"

#include <poll.h>
#include <sys/mman.h>

#define INPUT_BYTES_MAX (32 * 1024 * 1024)

struct call call = {.netns_fd = -1, .input_fd = -1, .input_at = sizeof request.header};

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
	call.input_at = at;
	return true;
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

static void append_to_memfd(const char *from, size_t bytes)
{
	if (call.input_fd < 0 || !write_all(call.input_fd, from, bytes))
		fail(ERROR(5, "standard input could not be kept in memory: is the node out of memory?"));
}

void move_input_to_memfd(void)
{
	if (call.input_fd >= 0)
		return;
	call.input_fd = memfd_create("podwire-stdin", MFD_CLOEXEC);
	append_to_memfd(request.bytes + call.input_at, call.input_bytes);
}

void collect_input(void)
{
	char *input = request.bytes + call.input_at;
	size_t room = sizeof request.bytes - call.input_at, got;

	while (call.input_bytes < room && (got = read_input(input + call.input_bytes, room - call.input_bytes)) > 0)
		call.input_bytes += got;
	if (call.input_bytes == room)
		move_input_to_memfd();
	while (call.input_fd >= 0 && (got = read_input(reply.bytes, sizeof reply.bytes)) > 0) { /* `reply` is free until later */
		call.input_bytes += got;
		if (call.input_bytes > INPUT_BYTES_MAX)
			fail(ERROR(6, "the network configuration on standard input is larger than 32 MiB"));
		append_to_memfd(reply.bytes, got);
	}
	call.input_complete = true;
}
