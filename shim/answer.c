// SPDX-License-Identifier: Apache-2.0
/* Writes the answer and ends the program. Only system calls: all of this may run in a signal handler. */
#include "shim.h"

#include <poll.h>

volatile sig_atomic_t answer_started;

void wait_for(int fd, short events)
{
	struct pollfd descriptor = {.fd = fd, .events = events};
	poll(&descriptor, 1, -1); /* the deadline's alarm interrupts it */
}

bool write_all(int fd, const char *from, size_t bytes)
{
	while (bytes > 0) {
		ssize_t written = write(fd, from, bytes);
		if (written >= 0) {
			from += written;
			bytes -= (size_t)written;
		} else if (errno == EAGAIN) {
			wait_for(fd, POLLOUT);
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

_Noreturn void answer(int fd, const char *body, size_t bytes, int status)
{
	answer_started = true;
	if (!write_all(fd, body, bytes) && status == 0)
		status = 1;
	_exit(status);
}

_Noreturn void fail(const char *error)
{
	answer(STDOUT_FILENO, error, strlen(error), 1);
}
