/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the plugin's answer and exits. Only system calls: all of this may run in a signal handler. */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

/* An error of the CNI specification as a string literal. */
#define ERROR(code, msg) "{\"cniVersion\":\"1.1.0\",\"code\":" #code ",\"msg\":\"" msg "\",\"details\":\"\"}\n"

extern volatile sig_atomic_t answer_started; /* bytes of an answer may be written already: no second one may follow */

/* Block until fd is ready for `events` (poll(2)). */
void wait_for(int fd, short events);

/* Write all bytes; false if that fails. */
bool write_all(int fd, const char *from, size_t bytes);

/* Print an answer and exit with `status`; with 1 if an answer of success could not be written. */
_Noreturn void answer(int fd, const char *body, size_t bytes, int status);

/* Print an error on standard output and exit with 1. */
_Noreturn void fail(const char *error);
