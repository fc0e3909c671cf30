/* A DEL without anyone's help. Only system calls: it may run in a signal handler. */
#pragma once

/* `ip -n NETNS link del IFNAME type veth`; this process stays in that namespace.
 * 0: it is gone, or nothing of that name and kind ever was there. Else -errno. */
int remove_veth(int netns_fd, const char *ifname);

/* Whether it is the namespace that this process is in; also when that cannot be told. */
int is_own_namespace(int netns_fd);
