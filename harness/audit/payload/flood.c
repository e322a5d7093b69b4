// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sends user messages to audit as fast as one task can:
 *
 *	flood COUNT TEXT
 *
 * As many messages of type 1112 (AUDIT_USER_LOGIN) as fit into a buffer go in
 * one datagram, and the last of all is the only one that asks for an answer.
 * The line that is printed is that of send for it, and so is the exit status;
 * COUNT is 1 to 1000000000.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "netlink.h"

#define NOT_ASKED	2
/* Well below the least that a socket may have waiting to be sent. */
#define DATAGRAM_MAX	(64 * 1024)

static int usage(void)
{
	fputs("usage: flood COUNT TEXT\n", stderr);
	return NOT_ASKED;
}

static int say(int err, const char *how)
{
	audit_say(err, how);
	return err && strcmp(how, "ack") ? NOT_ASKED : 0;
}

int main(int argc, char **argv)
{
	static _Alignas(struct nlmsghdr) char datagram[DATAGRAM_MAX];
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct audit_answer answer = { .how = "ack" };
	unsigned long left, room, n;
	struct nlmsghdr *head;
	size_t len, step;
	char *end;
	int fd;

	if (argc != 3)
		return usage();
	errno = 0;
	left = strtoul(argv[1], &end, 10);
	if (*argv[1] < '0' || *argv[1] > '9' || *end || errno || !left ||
	    left > 1000000000)
		return usage();
	len = strlen(argv[2]) + 1;
	if (len > AUDIT_TEXT_MAX)
		return usage();
	step = NLMSG_SPACE(len);
	room = DATAGRAM_MAX / step;
	for (n = 0; n < room; n++) {
		head = (struct nlmsghdr *)(datagram + n * step);
		head->nlmsg_len = NLMSG_LENGTH(len);
		head->nlmsg_type = AUDIT_USER_LOGIN;
		head->nlmsg_flags = NLM_F_REQUEST;
		memcpy(NLMSG_DATA(head), argv[2], len);
	}

	fd = audit_socket();
	if (fd < 0)
		return say(errno, "socket");
	while (left) {
		n = left < room ? left : room;
		left -= n;
		if (!left) {
			head = (struct nlmsghdr *)(datagram + (n - 1) * step);
			head->nlmsg_flags |= NLM_F_ACK;
			head->nlmsg_seq = 1;
		}
		if (sendto(fd, datagram, n * step, 0,
			   (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
			return say(errno, "sendto");
	}
	if (audit_wait(fd, 1, &answer))
		return say(errno, "recv");
	return say(answer.err, answer.how);
}
