/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Has one allocation of the calling task in the kernel fail, the first, the
 * second and so on (/proc/self/fail-nth, lib/fault-inject.c), and prints a line
 * for each time:
 *
 *	STEP N ERRNO STATE LOST
 *
 * N is the allocation that failed, or "end" for the time when none did; ERRNO
 * a name, 0 for none; STATE what was found afterwards, when nothing fails;
 * LOST how many records the audit that the task may ask lost meanwhile.
 *
 * The includer defines _GNU_SOURCE before its first header.
 */
#ifndef NSAUDIT_FAULT_H
#define NSAUDIT_FAULT_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>

#include "netlink.h"
#include "tasks.h"

#define NTH_MAX		2000

static int nth_file = -1;

/* From now on: each task has a file of its own. */
static inline void own_faults(void)
{
	nth_file = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth_file < 0)
		stop("/proc/self/fail-nth");
}

static inline void arm(unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	if (write(nth_file, text, len) != len)
		stop("arming");
}

/* How many allocations later it would have failed; 0 when one did. */
static inline unsigned int disarm(void)
{
	char text[16] = "";

	if (pread(nth_file, text, sizeof(text) - 1, 0) <= 0)
		stop("disarming");
	arm(0);
	return strtoul(text, NULL, 10);
}

/*
 * What audit replies to a request, or the errno of why it does not. The reply
 * may come from a thread of the kernel's.
 */
static inline int get_reply(int type, void *reply, size_t len)
{
	struct {
		struct nlmsghdr head;
		union {
			struct nlmsgerr error;
			char room[512];
		};
	} got = {
		.head.nlmsg_len = NLMSG_LENGTH(0),
		.head.nlmsg_type = type,
		.head.nlmsg_flags = NLM_F_REQUEST,
	};
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int fd = audit_socket();

	if (fd < 0 || sendto(fd, &got, got.head.nlmsg_len, 0,
			     (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		stop("a request");
	do {
		if (recv(fd, &got, sizeof(got), 0) < 0)
			stop("a reply");
	} while (got.head.nlmsg_type != type &&
		 got.head.nlmsg_type != NLMSG_ERROR);
	close(fd);
	if (got.head.nlmsg_type == NLMSG_ERROR)
		return -got.error.error;
	memcpy(reply, got.room, len);
	return 0;
}

/* What audit says of itself. */
static inline int get_status(struct audit_status *status)
{
	return get_reply(AUDIT_GET, status, sizeof(*status));
}

/* Where there is no audit, none. */
static inline unsigned int lost(void)
{
	struct audit_status status = { 0 };
	int err = get_status(&status);

	if (err && err != ECONNREFUSED) {
		errno = err;
		stop("AUDIT_GET's reply");
	}
	return status.lost;
}

static inline void say(const char *step, unsigned int nth, bool failed, int err,
		       const char *state, unsigned int before)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", nth);
	printf("%s %s %s %s %u\n", step, failed ? number : "end",
	       audit_errno_name(err), state, lost() - before);
	fflush(stdout);
}

/*
 * Asks, and returns the errno of the answer. ENOBUFS stands for no answer: the
 * kernel could not make it, or could not remember its sender's address for an
 * audited recvfrom(2), which is ENOMEM.
 */
static inline int ask(int fd, int type, const void *data, size_t len)
{
	struct audit_answer answer;

	if (audit_ask_data(fd, type, data, len, &answer))
		return ENOBUFS;
	return answer.err;
}

/* A new socket to ask by, instead of one that may still get answers, or of -1. */
static inline int renew(int fd)
{
	close(fd);
	fd = audit_socket();
	if (fd < 0)
		stop("socket");
	return fd;
}

/* A message that the number of the time can be found by. */
static inline int say_number(int fd, unsigned int nth)
{
	char text[64];

	snprintf(text, sizeof(text), "nsaudit-fault-%u-", nth);
	return ask(fd, AUDIT_USER_LOGIN, text, strlen(text) + 1);
}

/* Whether there is such a rule, of which there is none afterwards. */
static inline const char *take_rule(int fd, const void *rule, size_t len)
{
	int first = ask(fd, AUDIT_DEL_RULE, rule, len);
	int second = ask(fd, AUDIT_DEL_RULE, rule, len);

	if (second != ENOENT)
		return "twice";
	return !first ? "there" :
	       first == ENOENT ? "absent" : audit_errno_name(first);
}

#endif
