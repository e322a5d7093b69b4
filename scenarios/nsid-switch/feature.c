// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads or sets audit's features, of which Debian's auditctl knows two:
 *
 *	feature get
 *	feature set MASK FEATURES LOCK
 *
 * "get" says "FEATURES LOCK" in hexadecimal. "set" changes the features in
 * MASK to what FEATURES says, and locks those in LOCK; the kernel's answer
 * makes one line, the errno's name or 0. The exit status is 0 whatever the
 * answer was; 2 when the kernel could not be asked.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "netlink.h"

#define NOT_ASKED	2

struct message {
	struct nlmsghdr head;
	union {
		struct audit_features features;
		struct nlmsgerr error;
	};
};

static int give_up(const char *what)
{
	perror(what);
	return NOT_ASKED;
}

/* The reply comes from a thread of the kernel's, after the acknowledgement. */
static int get(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct message got;

	while (poll(&p, 1, AUDIT_ANSWER_MS) > 0) {
		if (recv(fd, &got, sizeof(got), 0) < 0)
			return give_up("recv");
		if (got.head.nlmsg_type == NLMSG_ERROR) {
			if (!got.error.error)
				continue;
			puts(audit_errno_name(-got.error.error));
			return 0;
		}
		if (got.head.nlmsg_type != AUDIT_GET_FEATURE)
			continue;
		printf("%x %x\n", got.features.features, got.features.lock);
		return 0;
	}
	puts(audit_errno_name(AUDIT_NO_ANSWER));
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct message asked = {
		.head.nlmsg_len = NLMSG_LENGTH(sizeof(asked.features)),
		.head.nlmsg_type = AUDIT_GET_FEATURE,
		.head.nlmsg_flags = NLM_F_REQUEST,
		.head.nlmsg_seq = 1,
		.features.vers = AUDIT_FEATURE_VERSION,
	};
	struct audit_answer answer;
	int fd = audit_socket(), set = argc == 5 && !strcmp(argv[1], "set");

	if (!set && (argc != 2 || strcmp(argv[1], "get"))) {
		fputs("usage: feature get | set MASK FEATURES LOCK\n", stderr);
		return NOT_ASKED;
	}
	if (set) {
		asked.head.nlmsg_type = AUDIT_SET_FEATURE;
		asked.head.nlmsg_flags |= NLM_F_ACK;
		asked.features.mask = strtoul(argv[2], NULL, 0);
		asked.features.features = strtoul(argv[3], NULL, 0);
		asked.features.lock = strtoul(argv[4], NULL, 0);
	}
	if (fd < 0 || sendto(fd, &asked, asked.head.nlmsg_len, 0,
			     (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return give_up("sendto");
	if (!set)
		return get(fd);
	if (audit_wait(fd, 1, &answer))
		return give_up("recv");
	puts(audit_errno_name(answer.err));
	return 0;
}
