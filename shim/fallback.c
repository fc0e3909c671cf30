// SPDX-License-Identifier: Apache-2.0
/* Answers without an agent and without the one-shot path, as the CNI specification demands of a plugin that cannot work. */
#include "shim.h"

#include <sys/stat.h>

#define NO_AGENT_MSG "no podwire agent answers on this node and no one-shot path is installed: is the podwire agent running?"

/* Is it the network namespace of this process? Also true if that is unknown. */
static bool is_own_namespace(int netns_fd)
{
	struct stat named, own;
	if (fstat(netns_fd, &named) < 0 || stat("/proc/self/ns/net", &own) < 0)
		return true;
	return named.st_dev == own.st_dev && named.st_ino == own.st_ino;
}

/* Delete the pod's interface and exit. Only system calls: it may run in a signal handler. */
_Noreturn void delete_without_agent(void)
{
	const char *ifname = getenv("CNI_IFNAME"), *override = getenv("CNI_NETNS_OVERRIDE");
	bool overridden = override && (strcmp(override, "1") == 0 || strcmp(override, "true") == 0);

	if (call.netns_fd >= 0 && ifname && *ifname) {
		if (!overridden && is_own_namespace(call.netns_fd)) /* there, eth0 is the node's own interface */
			fail(ERROR(8, "CNI_NETNS is the plugin's own network namespace: DEL removes nothing there"));
		if (delete_veth(call.netns_fd, ifname) < 0)
			fail(ERROR(11, "no podwire agent answers and the pod's interface could not be removed without it"));
	}
	_exit(0);
}

_Noreturn void answer_without_agent(void)
{
	static const char version[] = "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"" VERSION_LIST("\",\"") "\"]}\n";
	if (call.verb == VERB_VERSION)
		answer(STDOUT_FILENO, version, sizeof version - 1, 0);
	if (call.verb == VERB_DEL)
		delete_without_agent();
	if (call.verb == VERB_STATUS)
		fail(ERROR(50, NO_AGENT_MSG));
	if (call.verb == VERB_OTHER)
		fail(ERROR(4, "CNI_COMMAND is none of ADD, DEL, CHECK, GC, STATUS, VERSION"));
	fail(ERROR(11, NO_AGENT_MSG));
}
