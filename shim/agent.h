/* SPDX-License-Identifier: Apache-2.0 */
/* The node's agent answers the call. */
#pragma once
#include <stdbool.h>

/* Send the call to the agent, print its answer and exit. Returns false if no agent accepts the call, true if an agent
 * accepted it and sent no complete answer. */
bool call_agent(void);
