// SPDX-License-Identifier: Apache-2.0
/* The deadline of the call, and the answer when it passes. */
#include "shim.h"

#include <sys/time.h>

static const int deadlines_ms[] = {
	[VERB_ADD] = 60000, [VERB_DEL] = 20000, [VERB_CHECK] = 20000, [VERB_GC] = 60000,
	[VERB_STATUS] = 1900, /* containerd polls STATUS and expects the answer within 2 s */
	[VERB_VERSION] = 5000, [VERB_OTHER] = 5000,
};

/* SIGALRM. It makes only system calls, and it never returns. */
static void deadline_passed(int signal_number)
{
	(void)signal_number;
	if (answer_started)
		_exit(1);
	if (call.verb == VERB_DEL)
		delete_without_agent();
	if (call.verb == VERB_STATUS)
		fail(ERROR(50, "the podwire agent did not answer STATUS in time"));
	if (!call.input_complete)
		fail(ERROR(11, "standard input was not closed in time: try again later"));
	fail(ERROR(11, "the podwire agent did not answer in time: try again later"));
}

void set_alarm(long milliseconds)
{
	struct itimerval timer = {.it_value = {milliseconds / 1000, milliseconds % 1000 * 1000}};
	setitimer(ITIMER_REAL, &timer, NULL);
}

void start_deadline(void)
{
	struct sigaction action = {.sa_handler = deadline_passed};
	sigset_t alarm_only;
	const char *override = getenv("PODWIRE_DEADLINE_MS");
	long milliseconds = override ? atol(override) : 0;

	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &alarm_only, NULL); /* the parent may have blocked it */
	set_alarm(milliseconds > 0 ? milliseconds : deadlines_ms[call.verb]);
}
