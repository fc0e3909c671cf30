/* SPDX-License-Identifier: Apache-2.0 */
/* What the shim answers if there is neither an agent nor a one-shot path. */
#pragma once

/* Delete the pod's interface and exit. Only system calls: it may run in a signal handler. */
_Noreturn void delete_without_agent(void);

/* Answer as the CNI specification demands of a plugin that cannot work, and exit; DEL deletes the pod's interface. */
_Noreturn void answer_without_agent(void);
