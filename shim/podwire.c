// SPDX-License-Identifier: Apache-2.0
/* podwire's native shim: the program that a container runtime executes as the CNI plugin.
 *
 * It does no networking. It sends the call (the CNI_* environment, standard input and a descriptor of the pod's
 * network namespace) to the node's agent, prints the answer and exits with its status (agent.c). Without an agent it
 * executes the one-shot path (oneshot.c): the same code in a fresh process. Without both, it answers as the CNI
 * specification demands, and a DEL still deletes the pod's veth (fallback.c).
 *
 * It runs for every pod, so it uses neither malloc nor stdio.
 */
#include "shim.h"

#include <fcntl.h>

#define ABOUT "podwire: CNI plugin of the podwire pod network\n" \
	"CNI protocol versions supported: " VERSION_LIST(", ") "\n"

static const char *const verbs[] = {"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"}; /* in the order of enum verb */

int main(void)
{
	const char *command = getenv("CNI_COMMAND"), *netns = getenv("CNI_NETNS");

	/* Open closed standard descriptors, so that no socket gets their numbers; read-only: a write to them must fail. */
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", O_RDONLY);
	signal(SIGPIPE, SIG_IGN);
	if (command == NULL || *command == '\0')
		answer(STDERR_FILENO, ABOUT, sizeof ABOUT - 1, 0);
	while (call.verb < VERB_OTHER && strcmp(command, verbs[call.verb]) != 0)
		call.verb++;
	if (netns && *netns)
		call.netns_fd = open(netns, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	start_deadline();
	bool fits = collect_environment();
	collect_input();
	if (fits && call_agent() && call.verb == VERB_ADD) /* a second ADD must not run beside an unfinished one */
		fail(ERROR(11, "the podwire agent ended during ADD: the runtime tries again"));
	exec_oneshot();
	answer_without_agent();
}
