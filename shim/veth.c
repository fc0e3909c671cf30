// SPDX-License-Identifier: Apache-2.0
/* Deletes the pod's end of a veth by rtnetlink(7). Only system calls: it may run in a signal handler. */
#include "shim.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>

static char received[16 * 1024] __attribute__((aligned(NLMSG_ALIGNTO)));
static struct nlmsghdr *const header = (struct nlmsghdr *)received;

/* Send a message about the link with that index, or with that name if the index is 0, and receive the answer: its
 * length, 0 for an acknowledgement or if there is no such link, or -errno. */
static int link_call(int fd, uint16_t type, uint16_t flags, int index, const char *ifname)
{
	struct { struct nlmsghdr header; struct ifinfomsg link; struct rtattr attribute; char name[IFNAMSIZ]; } message = {
		.header = {.nlmsg_len = sizeof message, .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags},
		.link = {.ifi_index = index},
		.attribute = {.rta_len = RTA_LENGTH(IFNAMSIZ), .rta_type = IFLA_IFNAME},
	};

	memcpy(message.name, ifname, strlen(ifname));
	if (send(fd, &message, sizeof message, 0) < 0)
		return -errno;
	ssize_t got = recv(fd, received, sizeof received, MSG_DONTWAIT); /* rtnetlink answers before send returns */
	if (got < (ssize_t)sizeof *header)
		return -EIO;
	if (header->nlmsg_type != NLMSG_ERROR)
		return (int)got;
	int error = ((struct nlmsgerr *)NLMSG_DATA(header))->error;
	return error == -ENODEV ? 0 : error;
}

static struct rtattr *find_attribute(struct rtattr *at, int bytes, unsigned short type)
{
	for (; RTA_OK(at, bytes); at = RTA_NEXT(at, bytes))
		if ((at->rta_type & NLA_TYPE_MASK) == type)
			return at;
	return NULL;
}

static bool is_veth(struct ifinfomsg *link)
{
	struct rtattr *info = find_attribute(IFLA_RTA(link), (int)IFLA_PAYLOAD(header), IFLA_LINKINFO);
	struct rtattr *kind = info ? find_attribute(RTA_DATA(info), (int)RTA_PAYLOAD(info), IFLA_INFO_KIND) : NULL;
	return kind != NULL && RTA_PAYLOAD(kind) >= 4 && memcmp(RTA_DATA(kind), "veth", 4) == 0;
}

int delete_veth(int netns_fd, const char *ifname)
{
	struct ifinfomsg *link = NLMSG_DATA(header);

	if (strlen(ifname) >= IFNAMSIZ)
		return 0;
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return errno == EINVAL ? 0 : -errno; /* EINVAL: it is no network namespace any more */
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	int result = link_call(fd, RTM_GETLINK, 0, 0, ifname);
	if (result > 0)
		result = is_veth(link) ? link_call(fd, RTM_DELLINK, NLM_F_ACK, link->ifi_index, ifname) : 0;
	close(fd);
	return result;
}
