// SPDX-License-Identifier: Apache-2.0
/* Measures a plugin in a runtime: installed under the plugin's name, it executes PATH.measured and appends the verb, the
 * status and the nanoseconds to STOPWATCH.
 *
 * A runtime does not report how long a plugin took. The additional process costs the same for every plugin.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOPWATCH "/run/podwire-stopwatch"

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv, char **environment)
{
	char program[4096], line[128];
	ssize_t length = readlink("/proc/self/exe", program, sizeof program - sizeof ".measured");
	const char *verb = getenv("CNI_COMMAND");
	pid_t child;
	int status;

	(void)argc;
	if (length < 0)
		return 1;
	memcpy(program + length, ".measured", sizeof ".measured");
	long long started = now();
	if (posix_spawn(&child, program, NULL, NULL, argv, environment) != 0 || waitpid(child, &status, 0) != child)
		return 1;
	int bytes = snprintf(line, sizeof line, "%.8s %d %lld\n", verb ? verb : "-", status, now() - started);
	int file = open(STOPWATCH, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0 || write(file, line, (size_t)bytes) != bytes)
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
