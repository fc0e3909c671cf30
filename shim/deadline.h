/* SPDX-License-Identifier: Apache-2.0 */
/* One alarm bounds the whole call: standard input, connection, request, answer and standard output. */
#pragma once

/* Start the alarm with the time of the call's verb (or PODWIRE_DEADLINE_MS). */
void start_deadline(void);

/* Stop the alarm. */
void stop_deadline(void);
