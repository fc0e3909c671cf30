/* podwire's native shim: what a container runtime executes as the CNI plug-in.
 *
 * It knows nothing of networks. It hands one call (the CNI_* environment, standard input and a descriptor of the
 * network namespace) to the node's agent in one SOCK_SEQPACKET message, prints the one message that comes back and
 * exits with its status. Where no agent is, it becomes the one-shot path (same code, fresh process); where neither
 * is, it answers what the CNI specification asks for, and a DEL still removes the pod's veth.
 *
 * It is executed for every pod, so it stays away from malloc and stdio: static buffers of which only the touched
 * pages cost anything.
 *
 * Request: struct request_header; each CNI_* variable as KEY=VALUE and a NUL; standard input. Passed descriptors: the
 * network namespace (REQUEST_NETNS), then standard input as a memfd (REQUEST_INPUT_MEMFD) where it would not fit.
 * Reply: struct reply_header; the body, or a memfd that holds it (REPLY_BODY_MEMFD). Numbers are in native order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "delete.h"

#define DEFAULT_SOCKET "/run/podwire/agent.sock"
#define MESSAGE_BYTES (64 * 1024) /* a longer input or answer travels in a memfd */
#define INPUT_BYTES_MAX (32 * 1024 * 1024)

#define ERROR(code, msg) "{\"cniVersion\":\"1.1.0\",\"code\":" #code ",\"msg\":\"" msg "\",\"details\":\"\"}\n"
#define NO_AGENT_MSG "no podwire agent answers on this node and no one-shot path is installed: is the podwire agent running?"
#define VERSIONS "\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""
#define ABOUT "podwire: CNI plug-in of the podwire pod network\n" \
	"CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"

/* Overwritten in the installed copy, after the marker: the one-shot path's argv, each string ended by a NUL, the
 * list by an empty string. Not static: the compiler must not conclude that nobody ever writes here. */
#define STAMP_MARKER "PODWIRE-ONESHOT-ARGV-v1\n"
char oneshot_stamp[1024] __attribute__((used)) = STAMP_MARKER;

enum verb { VERB_ADD, VERB_DEL, VERB_CHECK, VERB_GC, VERB_STATUS, VERB_VERSION, VERB_OTHER };
static const struct {
	char name[8];
	int deadline_ms; /* for everything: standard input, connection, request, answer, standard output */
} verbs[] = {
	{"ADD", 60000}, {"DEL", 20000}, {"CHECK", 20000}, {"GC", 60000},
	{"STATUS", 1900}, /* containerd polls it and has to hear within 2 s */
	{"VERSION", 5000}, {"", 5000},
};

enum { REQUEST_NETNS = 1, REQUEST_INPUT_MEMFD = 2, REPLY_TO_STDERR = 1, REPLY_BODY_MEMFD = 2 };
struct request_header { char magic[4]; uint32_t flags, environment_bytes, input_bytes; };
struct reply_header { char magic[4]; uint32_t flags, status, body_bytes; };

static union { struct request_header header; char bytes[MESSAGE_BYTES]; } request;
static union { struct reply_header header; char bytes[sizeof(struct reply_header) + MESSAGE_BYTES]; } reply;

static enum verb verb;
static int netns_fd = -1;
static int input_fd = -1;         /* memfd that holds standard input, when the request cannot */
static size_t environment_bytes;  /* in the request, after its header */
static size_t input_bytes;        /* in the request, after the environment, unless input_fd is open */
static volatile sig_atomic_t input_complete, answer_begun;

static void wait_for(int fd, short events)
{
	struct pollfd one = {.fd = fd, .events = events};
	poll(&one, 1, -1); /* the alarm bounds it */
}

static int write_all(int fd, const char *from, size_t bytes)
{
	while (bytes > 0) {
		ssize_t written = write(fd, from, bytes);
		if (written >= 0) {
			from += written;
			bytes -= (size_t)written;
		} else if (errno == EAGAIN) {
			wait_for(fd, POLLOUT);
		} else if (errno != EINTR) {
			return -1;
		}
	}
	return 0;
}

/* Ends the program. An answer that could not be written must not look like a success. */
static _Noreturn void answer(int fd, const char *body, size_t bytes, int status)
{
	answer_begun = 1;
	if (write_all(fd, body, bytes) < 0 && status == 0)
		status = 1;
	_exit(status);
}

static _Noreturn void fail(const char *error)
{
	answer(STDOUT_FILENO, error, strlen(error), 1);
}

/* -------- without the agent -------- */

static _Noreturn void delete_unaided(void)
{
	const char *ifname = getenv("CNI_IFNAME"), *override = getenv("CNI_NETNS_OVERRIDE");
	int overridden = override && (strcmp(override, "1") == 0 || strcmp(override, "true") == 0);

	if (netns_fd >= 0 && ifname && *ifname) {
		if (!overridden && is_own_namespace(netns_fd)) /* its eth0 is the node's way out */
			fail(ERROR(8, "CNI_NETNS is the plug-in's own network namespace: DEL removes nothing there"));
		if (remove_veth(netns_fd, ifname) < 0)
			fail(ERROR(11, "no podwire agent answers and the pod's interface could not be removed without it"));
	}
	_exit(0);
}

static _Noreturn void answer_unaided(void)
{
	static const char version[] = "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[" VERSIONS "]}\n";
	if (verb == VERB_VERSION)
		answer(STDOUT_FILENO, version, sizeof version - 1, 0);
	if (verb == VERB_DEL)
		delete_unaided();
	if (verb == VERB_STATUS)
		fail(ERROR(50, NO_AGENT_MSG));
	if (verb == VERB_OTHER)
		fail(ERROR(4, "CNI_COMMAND is none of ADD, DEL, CHECK, GC, STATUS, VERSION"));
	fail(ERROR(11, NO_AGENT_MSG));
}

/* -------- the deadline -------- */

/* SIGALRM. Everything that can block lies under this one alarm, also what has no timeout of its own; what is called
 * here are system calls, and it never returns. */
static void deadline_passed(int signal_number)
{
	(void)signal_number;
	if (answer_begun)
		_exit(1);
	if (verb == VERB_DEL)
		delete_unaided();
	if (verb == VERB_STATUS)
		fail(ERROR(50, "the podwire agent did not answer STATUS in time"));
	if (!input_complete)
		fail(ERROR(11, "standard input was not closed in time: try again later"));
	fail(ERROR(11, "the podwire agent did not answer in time: try again later"));
}

static void set_alarm(long milliseconds)
{
	struct itimerval timer = {.it_value = {milliseconds / 1000, milliseconds % 1000 * 1000}};
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void start_deadline(void)
{
	struct sigaction action = {.sa_handler = deadline_passed};
	sigset_t alarm_only;
	long milliseconds = verbs[verb].deadline_ms;
	const char *override = getenv("PODWIRE_DEADLINE_MS");

	if (override && *override >= '1' && *override <= '9')
		for (milliseconds = 0; *override >= '0' && *override <= '9' && milliseconds < 1000000; override++)
			milliseconds = milliseconds * 10 + (*override - '0');
	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &alarm_only, NULL); /* a parent may have left it blocked */
	set_alarm(milliseconds);
}

/* -------- the call's three parts -------- */

/* 0 when they do not fit into a message; then only the one-shot path can be asked. */
static int collect_environment(void)
{
	size_t at = sizeof request.header;
	for (char **entry = environ; *entry; entry++) {
		if (strncmp(*entry, "CNI_", 4) != 0)
			continue;
		size_t bytes = strlen(*entry) + 1;
		if (bytes > sizeof request.bytes - at)
			return 0;
		memcpy(request.bytes + at, *entry, bytes);
		at += bytes;
	}
	environment_bytes = at - sizeof request.header;
	return 1;
}

static char *inline_input(void)
{
	return request.bytes + sizeof request.header + environment_bytes;
}

static size_t read_input(char *into, size_t room)
{
	for (;;) {
		ssize_t got = read(STDIN_FILENO, into, room);
		if (got >= 0)
			return (size_t)got;
		if (errno == EAGAIN)
			wait_for(STDIN_FILENO, POLLIN);
		else if (errno != EINTR)
			return 0; /* not readable: as if empty, which the parser then refuses */
	}
}

static void move_input_to_memfd(void)
{
	input_fd = memfd_create("podwire-stdin", MFD_CLOEXEC);
	if (input_fd < 0 || write_all(input_fd, inline_input(), input_bytes) < 0)
		fail(ERROR(5, "standard input could not be kept in memory: is the node out of memory?"));
}

static void collect_input(void)
{
	size_t room = (size_t)(request.bytes + sizeof request.bytes - inline_input()), got;

	while (input_bytes < room && (got = read_input(inline_input() + input_bytes, room - input_bytes)) > 0)
		input_bytes += got;
	if (input_bytes == room) {
		move_input_to_memfd();
		while ((got = read_input(reply.bytes, sizeof reply.bytes)) > 0) {
			input_bytes += got;
			if (input_bytes > INPUT_BYTES_MAX)
				fail(ERROR(6, "the network configuration on standard input is larger than 32 MiB"));
			if (write_all(input_fd, reply.bytes, got) < 0)
				fail(ERROR(5, "standard input could not be kept in memory: is the node out of memory?"));
		}
	}
	input_complete = 1;
}

/* -------- who answers it -------- */

static int connect_agent(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("PODWIRE_SOCKET");
	if (path == NULL || *path == '\0')
		path = DEFAULT_SOCKET;
	if (strlen(path) >= sizeof address.sun_path)
		return -1;
	memcpy(address.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -1;
	return fd;
}

static int send_request(int fd)
{
	union { char bytes[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr align; } control = {0};
	int fds[2], count = 0;
	struct iovec part = {.iov_base = request.bytes, .iov_len = sizeof request.header + environment_bytes};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	memcpy(request.header.magic, "PWR1", 4);
	request.header.environment_bytes = (uint32_t)environment_bytes;
	request.header.input_bytes = (uint32_t)input_bytes;
	if (netns_fd >= 0) {
		request.header.flags |= REQUEST_NETNS;
		fds[count++] = netns_fd;
	}
	if (input_fd >= 0) {
		request.header.flags |= REQUEST_INPUT_MEMFD;
		fds[count++] = input_fd;
		lseek(input_fd, 0, SEEK_SET);
	} else {
		part.iov_len += input_bytes;
	}
	if (count > 0) {
		size_t bytes = (size_t)count * sizeof(int);
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(bytes);
		struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(rights), fds, bytes);
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static _Noreturn void print_memfd(int to, int fd, size_t bytes, int status)
{
	answer_begun = 1;
	for (size_t at = 0; at < bytes;) {
		size_t want = bytes - at < sizeof reply.bytes ? bytes - at : sizeof reply.bytes;
		ssize_t got = pread(fd, reply.bytes, want, (off_t)at);
		if (got <= 0 || write_all(to, reply.bytes, (size_t)got) < 0)
			_exit(status ? status : 1);
		at += (size_t)got;
	}
	_exit(status);
}

/* Returns only when no whole answer came. */
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

/* Returns only when there is no one-shot path. */
static void become_oneshot(void)
{
	char *argv[32], *at = oneshot_stamp + sizeof STAMP_MARKER - 1, *end = oneshot_stamp + sizeof oneshot_stamp;
	size_t count = 0;

	for (; count < 31 && at < end && *at && memchr(at, '\0', (size_t)(end - at)); at += strlen(at) + 1)
		argv[count++] = at;
	if (count == 0)
		return;
	argv[count] = NULL;
	if (input_fd < 0)
		move_input_to_memfd();
	lseek(input_fd, 0, SEEK_SET);
	dup2(input_fd, STDIN_FILENO);
	set_alarm(0); /* alarms outlive execve */
	signal(SIGPIPE, SIG_DFL);
	execve(argv[0], argv, environ);
	signal(SIGPIPE, SIG_IGN);
	start_deadline();
}

int main(void)
{
	const char *command = getenv("CNI_COMMAND"), *netns = getenv("CNI_NETNS");

	for (int fd = 0; fd <= 2; fd++) /* a closed one must not become the agent's socket; not writable either */
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", O_RDONLY);
	signal(SIGPIPE, SIG_IGN);
	if (command == NULL || *command == '\0')
		answer(STDERR_FILENO, ABOUT, sizeof ABOUT - 1, 0);
	while (verb < VERB_OTHER && strcmp(command, verbs[verb].name) != 0)
		verb++;
	if (netns && *netns)
		netns_fd = open(netns, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	start_deadline();
	int fits = collect_environment();
	collect_input();
	int agent = fits ? connect_agent() : -1;
	if (agent >= 0 && send_request(agent) == 0) {
		print_reply(agent);
		if (verb == VERB_ADD) /* how far it came is unknown, so a second path must not run beside it */
			fail(ERROR(11, "the podwire agent ended during ADD: the runtime tries again"));
	}
	become_oneshot();
	answer_unaided();
}
