/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* ip -n NETNS link delete IFNAME type veth
 *
 * This process stays in that namespace. 0: the veth is deleted, or there is no veth of that name. Otherwise -errno.
 * Only system calls: it may run in a signal handler. */
int delete_veth(int netns_fd, const char *ifname);
