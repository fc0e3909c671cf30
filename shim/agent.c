// SPDX-License-Identifier: Apache-2.0
/* Sends the call to the agent in one SOCK_SEQPACKET message and prints the message that comes back. */
#include "shim.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

union request request;
union reply reply;

static int connect_agent(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("PODWIRE_SOCKET");
	if (path == NULL || *path == '\0')
		path = "/run/podwire/agent.sock";
	if (strlen(path) >= sizeof address.sun_path)
		return -1;
	memcpy(address.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -1;
	return fd;
}

static bool send_request(int fd)
{
	union { char bytes[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr rights; } control = {0};
	int fds[2];
	size_t count = 0;
	struct iovec part = {.iov_base = request.bytes, .iov_len = call.input_at};
	uint32_t flags = 0;

	if (call.netns_fd >= 0) {
		flags |= REQUEST_NETNS;
		fds[count++] = call.netns_fd;
	}
	if (call.input_fd >= 0) {
		flags |= REQUEST_INPUT_MEMFD;
		fds[count++] = call.input_fd;
		lseek(call.input_fd, 0, SEEK_SET);
	} else {
		part.iov_len += call.input_bytes;
	}
	uint32_t environment_bytes = (uint32_t)(call.input_at - sizeof request.header);
	request.header = (struct request_header){"PWR1", flags, environment_bytes, (uint32_t)call.input_bytes};
	size_t bytes = count * sizeof(int);
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
	message.msg_controllen = count > 0 ? CMSG_SPACE(bytes) : 0;
	control.rights = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(bytes)};
	memcpy(CMSG_DATA(&control.rights), fds, bytes);
	return sendmsg(fd, &message, MSG_NOSIGNAL) >= 0;
}

static _Noreturn void print_memfd(int to, int fd, size_t bytes, int status)
{
	ssize_t got;

	answer_started = true;
	for (size_t at = 0; at < bytes; at += (size_t)got) {
		size_t want = bytes - at < sizeof reply.bytes ? bytes - at : sizeof reply.bytes;
		got = pread(fd, reply.bytes, want, (off_t)at);
		if (got <= 0 || !write_all(to, reply.bytes, (size_t)got))
			_exit(status ? status : 1);
	}
	_exit(status);
}

/* Returns only if no complete answer came. */
static void print_reply(int fd)
{
	union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	struct iovec part = {.iov_base = reply.bytes, .iov_len = sizeof reply.bytes};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes,
	};
	ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);

	if (got < (ssize_t)sizeof reply.header || message.msg_flags & MSG_TRUNC || memcmp(reply.header.magic, "PWA1", 4) != 0)
		return;
	size_t inline_bytes = (size_t)got - sizeof reply.header, bytes = reply.header.body_bytes;
	int to = reply.header.flags & REPLY_TO_STDERR ? STDERR_FILENO : STDOUT_FILENO;
	int status = reply.header.status <= 255 ? (int)reply.header.status : 1;
	if (reply.header.flags & REPLY_BODY_MEMFD) {
		struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
		struct stat body;
		int body_fd;
		if (rights == NULL || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(sizeof body_fd))
			return;
		memcpy(&body_fd, CMSG_DATA(rights), sizeof body_fd);
		if (inline_bytes == 0 && fstat(body_fd, &body) == 0 && (uint64_t)body.st_size >= bytes)
			print_memfd(to, body_fd, bytes, status);
	} else if (inline_bytes == bytes) {
		answer(to, reply.bytes + sizeof reply.header, bytes, status);
	}
}

bool call_agent(void)
{
	int fd = connect_agent();
	if (fd < 0 || !send_request(fd))
		return false;
	print_reply(fd);
	return true;
}
