// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asks the audit where it is run for its rules, one time after the other:
 *
 *	lists COUNT
 *
 * Prints how many of the answers began with anything but the acknowledgment
 * (NLMSG_ERROR, netlink(7)). Where a request is refused it prints the name of the
 * errno, and the exit status is 2.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdlib.h>

#include "netlink.h"

static _Noreturn void stop(int err)
{
	puts(audit_errno_name(err));
	exit(2);
}

/* Reads the whole answer; whether its beginning is the acknowledgment. */
static bool acked_first(int fd, unsigned int seq)
{
	struct {
		struct nlmsghdr head;
		union {
			struct nlmsgerr error;
			char room[AUDIT_TEXT_MAX];
		};
	} got;
	bool acked = false, ended = false, first = true;

	while (!acked || !ended) {
		if (recv(fd, &got, sizeof(got), 0) < 0)
			stop(errno);
		if (got.head.nlmsg_seq != seq)
			stop(EBADMSG);
		switch (got.head.nlmsg_type) {
		case NLMSG_ERROR:
			if (got.error.error)
				stop(-got.error.error);
			acked = true;
			break;
		case NLMSG_DONE:
			ended = true;
			/* fall through */
		default:
			first = first && acked;
		}
	}
	return first;
}

int main(int argc, char **argv)
{
	unsigned int seq, count, early = 0;
	int fd = audit_socket();

	if (argc != 2) {
		fputs("usage: lists COUNT\n", stderr);
		return 2;
	}
	if (fd < 0)
		stop(errno);
	for (count = atoi(argv[1]); count > 0; count--) {
		seq = audit_send(fd, AUDIT_LIST_RULES, NULL, 0);
		if (!seq)
			stop(errno);
		early += !acked_first(fd, seq);
	}
	printf("%u\n", early);
	return 0;
}
