// SPDX-License-Identifier: Apache-2.0
/* The lower bound for a CNI plugin: creates the kernel objects of one routed ADD and does nothing else.
 *
 * Executed like a plugin (CNI_* environment, configuration on standard input), it connects CNI_NETNS to the namespace
 * that it runs in, prints a minimal result and exits. It allocates nothing (FLOOR_IP is the address, FLOOR_GATEWAY the
 * gateway), checks nothing and undoes nothing. It uses two netlink sockets, with one send and one acknowledgement each.
 * -DLEAN also leaves out what podwire leaves out: more than one queue, and IPv6 on the host's end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUTE_PROTOCOL 112
#define POD_INDEX 2 /* of the pod's eth0: a fixed index needs not be read back */
#define HOST_INDEX_BASE 0x100000

static char buffer[4096], scratch[64 * 1024];
static size_t at;
static struct nlmsghdr *last;

static void put(const void *data, size_t bytes)
{
	memcpy(buffer + at, data, bytes);
	at += NLMSG_ALIGN(bytes);
}

static void attribute(unsigned short type, const void *data, size_t bytes)
{
	struct rtattr header = {.rta_type = type, .rta_len = (unsigned short)RTA_LENGTH(bytes)};
	put(&header, sizeof header);
	put(data, bytes);
}

static struct rtattr *open_nest(unsigned short type)
{
	struct rtattr *nest = (struct rtattr *)(buffer + at);
	attribute(type | NLA_F_NESTED, NULL, 0);
	return nest;
}

static void close_nest(struct rtattr *nest)
{
	nest->rta_len = (unsigned short)(buffer + at - (char *)nest);
}

static struct nlmsghdr *open_message(unsigned short type, unsigned short flags, const void *fixed, size_t bytes)
{
	struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags};
	last = (struct nlmsghdr *)(buffer + at);
	put(&header, sizeof header);
	put(fixed, bytes);
	return last;
}

static void close_message(struct nlmsghdr *message)
{
	message->nlmsg_len = (uint32_t)(buffer + at - (char *)message);
}

static void send_batch(int fd)
{
	last->nlmsg_flags |= NLM_F_ACK;
	if (send(fd, buffer, at, 0) < 0)
		exit(2);
	ssize_t got = recv(fd, scratch, sizeof scratch, 0); /* the error of any message comes before the ack of the last */
	struct nlmsghdr *header = (struct nlmsghdr *)scratch;
	if (got < (ssize_t)sizeof *header || ((struct nlmsgerr *)NLMSG_DATA(header))->error != 0)
		exit(3);
	at = 0;
}

static int netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
}

/* ip link set dev INDEX up */
static void link_up(int index)
{
	struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	close_message(open_message(RTM_NEWLINK, 0, &link, sizeof link));
}

/* ip neigh add ADDRESS lladdr MAC dev INDEX nud permanent */
static void neighbour(int index, uint32_t address, const uint8_t *mac)
{
	struct ndmsg fixed = {.ndm_family = AF_INET, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
	struct nlmsghdr *message = open_message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &fixed, sizeof fixed);
	attribute(NDA_DST, &address, 4);
	attribute(NDA_LLADDR, mac, 6);
	close_message(message);
}

/* ip route add (DESTINATION | default) [via GATEWAY] dev INDEX */
static void route(int index, uint32_t destination, uint32_t gateway)
{
	struct rtmsg fixed = {
		.rtm_family = AF_INET, .rtm_dst_len = destination ? 32 : 0, .rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = ROUTE_PROTOCOL, .rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK, .rtm_type = RTN_UNICAST,
	};
	struct nlmsghdr *message = open_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &fixed, sizeof fixed);
	if (destination)
		attribute(RTA_DST, &destination, 4);
	if (gateway)
		attribute(RTA_GATEWAY, &gateway, 4);
	attribute(RTA_OIF, &index, 4);
	close_message(message);
}

/* LEAN: one queue in each direction; the kernel creates one per processor by default. */
static void queues(void)
{
#ifdef LEAN
	uint32_t one = 1;
	attribute(IFLA_NUM_TX_QUEUES, &one, sizeof one);
	attribute(IFLA_NUM_RX_QUEUES, &one, sizeof one);
#endif
}

/* LEAN: ip link set dev INDEX addrgenmode none */
static void addrgenmode_none(void)
{
#ifdef LEAN
	uint8_t none = 1;
	struct rtattr *families = open_nest(IFLA_AF_SPEC), *inet6 = open_nest(AF_INET6);
	attribute(IFLA_INET6_ADDR_GEN_MODE, &none, sizeof none);
	close_nest(inet6);
	close_nest(families);
#endif
}

/* ip link add NAME index INDEX address MAC type veth peer name IFNAME index 2 address MAC netns FD
 * ip link set dev INDEX alias ALIAS
 * ip link property add dev INDEX altname IP
 * ip link set dev INDEX up */
static void veth(int index, int netns, const char *ip, const char *ifname, const uint8_t *host_mac, const uint8_t *pod_mac)
{
	char name[IFNAMSIZ], alias[256];
	struct ifinfomsg pod = {.ifi_index = POD_INDEX}, by_index = {.ifi_index = index};
	struct nlmsghdr *message = open_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &by_index, sizeof by_index);

	snprintf(name, sizeof name, "pw%013x", (unsigned)index);
	snprintf(alias, sizeof alias, "podwire floor %s %s", getenv("CNI_CONTAINERID"), ifname);
	attribute(IFLA_IFNAME, name, strlen(name) + 1);
	attribute(IFLA_ADDRESS, host_mac, 6);
	queues();
	struct rtattr *info = open_nest(IFLA_LINKINFO);
	attribute(IFLA_INFO_KIND, "veth", 4);
	struct rtattr *data = open_nest(IFLA_INFO_DATA), *peer = open_nest(VETH_INFO_PEER);
	put(&pod, sizeof pod);
	attribute(IFLA_IFNAME, ifname, strlen(ifname) + 1);
	attribute(IFLA_ADDRESS, pod_mac, 6);
	queues();
	attribute(IFLA_NET_NS_FD, &netns, 4);
	close_nest(peer);
	close_nest(data);
	close_nest(info);
	close_message(message);

	/* The kernel ignores an alias in the message that creates a device (rtnl_create_link). */
	message = open_message(RTM_NEWLINK, 0, &by_index, sizeof by_index);
	attribute(IFLA_IFALIAS, alias, strlen(alias));
	addrgenmode_none();
	close_message(message);

	message = open_message(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL, &by_index, sizeof by_index);
	struct rtattr *names = open_nest(IFLA_PROP_LIST);
	attribute(IFLA_ALT_IFNAME, ip, strlen(ip) + 1);
	close_nest(names);
	close_message(message);
	link_up(index);
}

int main(void)
{
	const char *command = getenv("CNI_COMMAND"), *ip = getenv("FLOOR_IP"), *ifname = getenv("CNI_IFNAME");
	uint32_t address = inet_addr(ip), gateway = inet_addr(getenv("FLOOR_GATEWAY"));
	uint8_t host_mac[6] = {0x0a, 0x59}, pod_mac[6] = {0x0a, 0x58};
	int index = HOST_INDEX_BASE + (int)(ntohl(address) & 0xffff);

	if (strcmp(command, "DEL") == 0) { /* ip link delete INDEX: it cleans up and is not measured */
		struct ifinfomsg link = {.ifi_index = index};
		close_message(open_message(RTM_DELLINK, 0, &link, sizeof link));
		send_batch(netlink());
		return 0;
	}
	while (read(STDIN_FILENO, scratch, sizeof scratch) > 0)
		;
	memcpy(host_mac + 2, &address, 4);
	memcpy(pod_mac + 2, &address, 4);
	int netns = open(getenv("CNI_NETNS"), O_RDONLY | O_CLOEXEC), host = netlink();
	veth(index, netns, ip, ifname, host_mac, pod_mac);
	route(index, address, 0);
	neighbour(index, address, pod_mac);
	send_batch(host);

	setns(netns, CLONE_NEWNET);
	struct ifaddrmsg own = {.ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = POD_INDEX};
	int pod = netlink();
	link_up(1);
	link_up(POD_INDEX);
	struct nlmsghdr *message = open_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &own, sizeof own);
	attribute(IFA_LOCAL, &address, 4);
	attribute(IFA_ADDRESS, &address, 4);
	close_message(message);
	route(POD_INDEX, gateway, 0);
	route(POD_INDEX, 0, gateway);
	neighbour(POD_INDEX, gateway, host_mac);
	send_batch(pod);

	int bytes = snprintf(scratch, sizeof scratch,
		"{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"%s\",\"sandbox\":\"%s\"}],"
		"\"ips\":[{\"address\":\"%s/32\",\"gateway\":\"%s\",\"interface\":0}]}\n",
		ifname, getenv("CNI_NETNS"), ip, getenv("FLOOR_GATEWAY"));
	return write(STDOUT_FILENO, scratch, (size_t)bytes) == bytes ? 0 : 1;
}
