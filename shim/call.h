/* SPDX-License-Identifier: Apache-2.0 */
/* One call of the plugin: its verb, the CNI_* environment, standard input and the pod's network namespace. */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

enum verb { VERB_ADD, VERB_DEL, VERB_CHECK, VERB_GC, VERB_STATUS, VERB_VERSION, VERB_OTHER };

struct call {
	enum verb verb;
	int netns_fd;              /* CNI_NETNS, or -1 */
	int input_fd;              /* a memfd with standard input that does not fit into the request, or -1 */
	size_t environment_bytes;  /* in the request, after its header */
	size_t input_bytes;        /* in the request, after the environment, unless input_fd is open */
	volatile sig_atomic_t input_complete;
};

extern struct call call;

/* Copy the CNI_* variables into the request; false if they do not fit: then only the one-shot path can answer. */
bool collect_environment(void);

/* Read standard input to its end. Fails with an error for the runtime. */
void collect_input(void);

/* Make input_fd contain standard input. Fails with an error for the runtime. */
void move_input_to_memfd(void);
