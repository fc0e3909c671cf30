// SPDX-License-Identifier: Apache-2.0
/* Deletes the pod's end of a veth by rtnetlink(7). */
#define _GNU_SOURCE
#include "veth.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char received[16 * 1024] __attribute__((aligned(NLMSG_ALIGNTO)));

/* Send a message and receive the answer: its length, 0 for an acknowledgement, or -errno. */
static int netlink_call(int fd, const struct nlmsghdr *message)
{
	if (send(fd, message, message->nlmsg_len, 0) < 0)
		return -errno;
	ssize_t got = recv(fd, received, sizeof received, MSG_DONTWAIT); /* rtnetlink answers before send returns */
	if (got < (ssize_t)sizeof(struct nlmsghdr))
		return -EIO;
	struct nlmsghdr *first = (struct nlmsghdr *)received;
	if (first->nlmsg_type == NLMSG_ERROR)
		return ((struct nlmsgerr *)NLMSG_DATA(first))->error;
	return (int)got;
}

static struct rtattr *find_attribute(struct rtattr *at, int bytes, unsigned short type)
{
	for (; RTA_OK(at, bytes); at = RTA_NEXT(at, bytes))
		if ((at->rta_type & NLA_TYPE_MASK) == type)
			return at;
	return NULL;
}

static bool is_veth(struct nlmsghdr *header)
{
	struct ifinfomsg *link = NLMSG_DATA(header);
	struct rtattr *info = find_attribute(IFLA_RTA(link), (int)IFLA_PAYLOAD(header), IFLA_LINKINFO);
	struct rtattr *kind = info ? find_attribute(RTA_DATA(info), (int)RTA_PAYLOAD(info), IFLA_INFO_KIND) : NULL;
	return kind != NULL && RTA_PAYLOAD(kind) >= 4 && memcmp(RTA_DATA(kind), "veth", 4) == 0;
}

/* ip -d link show IFNAME: its index, 0 if there is no veth of that name, or -errno. */
static int veth_index(int fd, const char *ifname)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
		struct rtattr attribute;
		char name[IFNAMSIZ];
	} get = {
		.header = {.nlmsg_len = sizeof get, .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST},
		.attribute = {.rta_len = RTA_LENGTH(IFNAMSIZ), .rta_type = IFLA_IFNAME},
	};
	struct nlmsghdr *header = (struct nlmsghdr *)received;

	memcpy(get.name, ifname, strlen(ifname));
	int got = netlink_call(fd, &get.header);
	if (got <= 0)
		return got == -ENODEV ? 0 : got;
	return is_veth(header) ? ((struct ifinfomsg *)NLMSG_DATA(header))->ifi_index : 0;
}

/* ip link delete dev with that index: 0 or -errno. */
static int delete_link(int fd, int index)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
	} del = {
		.header = {.nlmsg_len = sizeof del, .nlmsg_type = RTM_DELLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.link = {.ifi_index = index},
	};
	int got = netlink_call(fd, &del.header);
	return got == -ENODEV ? 0 : got;
}

int delete_veth(int netns_fd, const char *ifname)
{
	if (strlen(ifname) >= IFNAMSIZ)
		return 0;
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return errno == EINVAL ? 0 : -errno; /* EINVAL: it is no network namespace any more */
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	int result = veth_index(fd, ifname);
	if (result <= 0)
		goto cleanup;
	result = delete_link(fd, result);
cleanup:
	close(fd);
	return result;
}
