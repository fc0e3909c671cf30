/* A DEL without anyone's help: removes the pod's end of a veth, by raw rtnetlink. */
#define _GNU_SOURCE
#include "delete.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

static ssize_t netlink_call(int fd, struct nlmsghdr *message, char *into, size_t room)
{
	if (send(fd, message, message->nlmsg_len, 0) < 0)
		return -errno;
	ssize_t got = recv(fd, into, room, MSG_DONTWAIT); /* rtnetlink has answered when send returns */
	if (got < (ssize_t)sizeof(struct nlmsghdr))
		return -EIO;
	struct nlmsghdr *first = (struct nlmsghdr *)into;
	if (first->nlmsg_type == NLMSG_ERROR)
		return ((struct nlmsgerr *)NLMSG_DATA(first))->error;
	return got;
}

static struct rtattr *find_attribute(struct rtattr *at, int bytes, unsigned short type)
{
	for (; RTA_OK(at, bytes); at = RTA_NEXT(at, bytes))
		if ((at->rta_type & NLA_TYPE_MASK) == type)
			return at;
	return NULL;
}

int remove_veth(int netns_fd, const char *ifname)
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
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
	} del = {.header = {.nlmsg_len = sizeof del, .nlmsg_type = RTM_DELLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK}};
	static char into[16 * 1024] __attribute__((aligned(NLMSG_ALIGNTO)));

	if (strlen(ifname) >= IFNAMSIZ)
		return 0;
	memcpy(get.name, ifname, strlen(ifname));
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return errno == EINVAL ? 0 : -errno; /* EINVAL: not a namespace any more */
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	ssize_t got = netlink_call(fd, &get.header, into, sizeof into);
	if (got <= 0)
		return got == -ENODEV ? 0 : (int)got;
	struct nlmsghdr *header = (struct nlmsghdr *)into;
	struct ifinfomsg *link = NLMSG_DATA(header);
	struct rtattr *info = find_attribute(IFLA_RTA(link), (int)IFLA_PAYLOAD(header), IFLA_LINKINFO);
	struct rtattr *kind = info ? find_attribute(RTA_DATA(info), (int)RTA_PAYLOAD(info), IFLA_INFO_KIND) : NULL;
	if (kind == NULL || RTA_PAYLOAD(kind) < 4 || memcmp(RTA_DATA(kind), "veth", 4) != 0)
		return 0; /* somebody else's device */
	del.link.ifi_index = link->ifi_index;
	got = netlink_call(fd, &del.header, into, sizeof into);
	return got == -ENODEV ? 0 : (int)got;
}

int is_own_namespace(int netns_fd)
{
	struct stat named, own;
	if (fstat(netns_fd, &named) < 0 || stat("/proc/self/ns/net", &own) < 0)
		return 1;
	return named.st_dev == own.st_dev && named.st_ino == own.st_ino;
}
