/* SPDX-License-Identifier: Apache-2.0 */
/* The two messages between shim and agent (src/podwire/agent/protocol.py), in native byte order.
 *
 * Request: struct request_header; each CNI_* variable as KEY=VALUE and a NUL; standard input. Passed descriptors: the
 * network namespace (REQUEST_NETNS), then standard input as a memfd (REQUEST_INPUT_MEMFD) if it does not fit.
 * Reply: struct reply_header; the body, or a memfd that contains it (REPLY_BODY_MEMFD).
 */
#pragma once
#include <stdint.h>

#define MESSAGE_BYTES (64 * 1024) /* longer input and longer replies are passed as a memfd */

enum { REQUEST_NETNS = 1, REQUEST_INPUT_MEMFD = 2, REPLY_TO_STDERR = 1, REPLY_BODY_MEMFD = 2 };
struct request_header { char magic[4]; uint32_t flags, environment_bytes, input_bytes; };
struct reply_header { char magic[4]; uint32_t flags, status, body_bytes; };

union request { struct request_header header; char bytes[MESSAGE_BYTES]; };
union reply { struct reply_header header; char bytes[sizeof(struct reply_header) + MESSAGE_BYTES]; };

/* Static buffers: only the pages that are touched cost anything. */
extern union request request;
extern union reply reply;
