/* SPDX-License-Identifier: Apache-2.0 */
/* What the shim's files share: the call, its two messages, and one function or two of each file. */
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The messages between shim and agent (src/podwire/agent/protocol.py), in native byte order.
 *
 * Request: struct request_header; each CNI_* variable as KEY=VALUE and a NUL; standard input. Passed descriptors: the
 * network namespace (REQUEST_NETNS), then standard input as a memfd (REQUEST_INPUT_MEMFD) if it does not fit.
 * Reply: struct reply_header; the body, or a memfd that contains it (REPLY_BODY_MEMFD).
 */
#define MESSAGE_BYTES (64 * 1024) /* longer input and longer replies are passed as a memfd */
enum { REQUEST_NETNS = 1, REQUEST_INPUT_MEMFD = 2, REPLY_TO_STDERR = 1, REPLY_BODY_MEMFD = 2 };
struct request_header { char magic[4]; uint32_t flags, environment_bytes, input_bytes; };
struct reply_header { char magic[4]; uint32_t flags, status, body_bytes; };

/* Static buffers: only the pages that are touched cost anything. */
extern union request { struct request_header header; char bytes[MESSAGE_BYTES]; } request;
extern union reply { struct reply_header header; char bytes[sizeof(struct reply_header) + MESSAGE_BYTES]; } reply;

enum verb { VERB_ADD, VERB_DEL, VERB_CHECK, VERB_GC, VERB_STATUS, VERB_VERSION, VERB_OTHER };
extern struct call {
	enum verb verb;
	int netns_fd;         /* CNI_NETNS, or -1 */
	int input_fd;         /* a memfd with standard input that does not fit into the request, or -1 */
	size_t input_at;      /* the end of the environment in the request */
	size_t input_bytes;   /* in the request, after the environment, unless input_fd is open */
	volatile sig_atomic_t input_complete;
} call;

/* answer.c */
#define VERSION_LIST(separator) "0.1.0" separator "0.2.0" separator "0.3.0" separator "0.3.1" separator \
	"0.4.0" separator "1.0.0" separator "1.1.0"
#define ERROR(code, msg) "{\"cniVersion\":\"1.1.0\",\"code\":" #code ",\"msg\":\"" msg "\",\"details\":\"\"}\n"
extern volatile sig_atomic_t answer_started; /* bytes of an answer may be written already: no second one may follow */
void wait_for(int fd, short events);         /* block until fd is ready for `events` (poll(2)) */
bool write_all(int fd, const char *from, size_t bytes);
_Noreturn void answer(int fd, const char *body, size_t bytes, int status); /* exits with 1 if it cannot be written */
_Noreturn void fail(const char *error);      /* an ERROR on standard output, and exit status 1 */

/* call.c */
bool collect_environment(void);  /* false if it does not fit into the request: then only the one-shot path can answer */
void collect_input(void);        /* read standard input to its end */
void move_input_to_memfd(void);

/* deadline.c: one alarm bounds the whole call, standard input and standard output included */
void start_deadline(void);       /* with the time of the call's verb (or PODWIRE_DEADLINE_MS) */
void set_alarm(long milliseconds);  /* 0 stops it */

/* agent.c: prints the agent's answer and exits. False if no agent accepts the call, true if an agent accepted it and
 * sent no complete answer. */
bool call_agent(void);

/* oneshot.c: returns only if no one-shot path is installed, or it cannot be executed */
void exec_oneshot(void);

/* fallback.c */
_Noreturn void delete_without_agent(void);
_Noreturn void answer_without_agent(void);

/* veth.c: ip -n NETNS link delete IFNAME type veth; this process stays in that namespace. 0 or -errno; a veth that does
 * not exist is no error. */
int delete_veth(int netns_fd, const char *ifname);
