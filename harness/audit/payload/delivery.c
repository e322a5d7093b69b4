// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures how long messages to audit take until they are delivered:
 *
 *	delivery COUNT
 *
 * Sends messages of type 1005 (AUDIT_USER) one by one and waits for each at
 * the multicast group, to which the kernel's thread delivers it before the
 * daemon. Before each it sleeps, so that the daemon is done with the last one.
 * Prints a line for each: what the time-stamp counter went on from before it
 * was sent until it was there. COUNT is 1 to 100000.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>

#include "netlink.h"
#include "tasks.h"

#define COUNT_MAX	100000
#define PAUSE_NS	1000000
/* so that what others send meanwhile is late, and not lost */
#define ROOM		(64 << 20)

static inline uint64_t now(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static void tell(int fd, const char *text)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct {
		struct nlmsghdr head;
		char text[64];
	} message = { 0 };
	size_t len = strlen(text) + 1;

	memcpy(message.text, text, len);
	message.head.nlmsg_len = NLMSG_LENGTH(len);
	message.head.nlmsg_type = AUDIT_USER;
	message.head.nlmsg_flags = NLM_F_REQUEST;
	if (sendto(fd, &message, message.head.nlmsg_len, 0,
		   (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		stop("sendto");
}

static void await(int reader, const char *text)
{
	struct {
		struct nlmsghdr head;
		char text[AUDIT_TEXT_MAX + 1];
	} got;
	ssize_t n;

	do {
		n = recv(reader, &got, sizeof(got) - 1, 0);
		if (n < (ssize_t)sizeof(got.head))
			stop("recv");
		got.text[n - sizeof(got.head)] = '\0';
	} while (!strstr(got.text, text));
}

int main(int argc, char **argv)
{
	struct timeval limit = { .tv_sec = AUDIT_ANSWER_MS / 1000 };
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	static uint64_t took[COUNT_MAX];
	struct audit_answer answer;
	unsigned long count, i;
	int reader, fd, room = ROOM;
	uint64_t began;
	char text[64];

	count = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	if (!count || count > COUNT_MAX) {
		fputs("usage: delivery COUNT\n", stderr);
		return FAILED;
	}
	reader = audit_socket();
	fd = audit_socket();
	if (reader < 0 || fd < 0)
		stop("socket");
	audit_join(reader, AUDIT_NLGRP_READLOG, &answer);
	if (answer.err)
		stop("bind");
	if (setsockopt(reader, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    setsockopt(reader, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		stop("setsockopt");
	for (i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "delivery-%d-%lu.", getpid(), i);
		nanosleep(&pause, NULL);
		began = now();
		tell(fd, text);
		await(reader, text);
		took[i] = now() - began;
	}
	for (i = 0; i < count; i++)
		printf("%llu\n", (unsigned long long)took[i]);
	return 0;
}
