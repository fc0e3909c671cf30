// SPDX-License-Identifier: Apache-2.0
/* Replaces this process by the one-shot path that `podwire install` wrote into the installed copy. */
#include "shim.h"

#define ARGUMENTS_MAX 31

/* `podwire install` overwrites what follows the marker: the one-shot path's argv, a NUL after each string, then an
 * empty string. Not static: the compiler must not assume that it never changes. */
#define STAMP_MARKER "PODWIRE-ONESHOT-ARGV-v1\n"
char oneshot_stamp[1024] __attribute__((used)) = STAMP_MARKER;

void exec_oneshot(void)
{
	char *argv[ARGUMENTS_MAX + 1], *at = oneshot_stamp + sizeof STAMP_MARKER - 1, *end = oneshot_stamp + sizeof oneshot_stamp;
	size_t count = 0;

	for (; count < ARGUMENTS_MAX && at < end && *at && memchr(at, '\0', (size_t)(end - at)); at += strlen(at) + 1)
		argv[count++] = at;
	if (count == 0)
		return;
	argv[count] = NULL;
	move_input_to_memfd();
	lseek(call.input_fd, 0, SEEK_SET);
	dup2(call.input_fd, STDIN_FILENO);
	set_alarm(0); /* an alarm survives execve */
	signal(SIGPIPE, SIG_DFL);
	execve(argv[0], argv, environ);
	signal(SIGPIPE, SIG_IGN);
	start_deadline();
}
