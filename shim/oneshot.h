/* SPDX-License-Identifier: Apache-2.0 */
/* The one-shot path: the same plugin code in a fresh Python process. */
#pragma once

/* Execute the one-shot path. Returns only if none is installed or it cannot be executed. */
void exec_oneshot(void);
