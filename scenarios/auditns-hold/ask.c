// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asks the audit where it is run for its rules, COUNT times by one call:
 *
 *	ask COUNT PAUSE
 *
 * Prints its pid before it asks, and "asked" when the call has returned. Then
 * it reads one message of the answer each PAUSE ms, with a "." for each, until
 * the list ends; none at all if PAUSE is 0. Only a signal ends it.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "netlink.h"

int main(int argc, char **argv)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timespec pause_for = { 0 };
	struct nlmsghdr *requests;
	struct {
		struct nlmsghdr head;
		char text[AUDIT_TEXT_MAX];
	} got;
	int least = 0, count, fd, n;

	if (argc != 3) {
		fputs("usage: ask COUNT PAUSE\n", stderr);
		return 2;
	}
	count = atoi(argv[1]);
	pause_for.tv_nsec = atoi(argv[2]) * 1000000;
	requests = calloc(count, sizeof(*requests));
	fd = audit_socket();
	/* room for one message */
	if (!requests || fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)))
		return 2;
	for (n = 0; n < count; n++) {
		requests[n].nlmsg_len = sizeof(*requests);
		requests[n].nlmsg_type = AUDIT_LIST_RULES;
		requests[n].nlmsg_flags = NLM_F_REQUEST;
	}

	setvbuf(stdout, NULL, _IONBF, 0);
	printf("%d\n", getpid());
	if (sendto(fd, requests, count * sizeof(*requests), 0,
		   (struct sockaddr *)&kernel, sizeof(kernel)) < 0) {
		puts(audit_errno_name(errno));
		return 2;
	}
	puts("asked");
	while (pause_for.tv_nsec) {
		n = recv(fd, &got, sizeof(got), 0);
		if (n >= (int)sizeof(got.head) &&
		    got.head.nlmsg_type == NLMSG_DONE)
			break;
		putchar('.');
		nanosleep(&pause_for, NULL);
	}
	for (;;)
		pause();
}
