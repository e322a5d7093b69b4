/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asks the kernel's audit one thing over netlink, and tells where the answer
 * came from: sendto() itself, the kernel's NLMSG_ERROR, or bind().
 *
 * The includer defines _GNU_SOURCE before its first header.
 */
#ifndef NSAUDIT_NETLINK_H
#define NSAUDIT_NETLINK_H

#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* User space owns 1100-1199; libaudit.h, not the kernel, names this one. */
#ifndef AUDIT_USER_LOGIN
#define AUDIT_USER_LOGIN	1112
#endif

#define AUDIT_TEXT_MAX		8970	/* MAX_AUDIT_MESSAGE_LENGTH, libaudit */
#define AUDIT_ANSWER_MS		5000
#define AUDIT_NO_ANSWER		(-1)	/* as an errno */

struct audit_answer {
	int err;		/* 0, a positive errno or AUDIT_NO_ANSWER */
	const char *how;	/* "sendto", "ack" or "bind" */
};

/* The name of an errno, "0" for none, its number where libc has no name. */
static inline const char *audit_errno_name(int err)
{
	static char number[16];
	const char *name;

	if (err == AUDIT_NO_ANSWER)
		return "TIMEOUT";
	name = strerrorname_np(err);
	if (name)
		return name;
	snprintf(number, sizeof(number), "%d", err);
	return number;
}

/* Prints the line of one message: what was answered, and by what. */
static inline void audit_say(int err, const char *how)
{
	printf("%s %s pid=%d\n", audit_errno_name(err), how, (int)getpid());
	fflush(stdout);
}

static inline int audit_socket(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
}

static inline long long audit_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/*
 * Waits for the NLMSG_ERROR to message @seq. What an earlier message was replied,
 * and records, may come before it and are dropped, and so is anything that the
 * kernel did not send; the reply to this one comes after it. Returns -1 when the
 * socket itself fails.
 */
static inline int audit_wait(int fd, unsigned int seq,
			     struct audit_answer *answer)
{
	long long end = audit_now_ms() + AUDIT_ANSWER_MS, left;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct {
		struct nlmsghdr head;
		union {
			struct nlmsgerr error;
			char room[AUDIT_TEXT_MAX];
		};
	} got;
	struct sockaddr_nl from;
	socklen_t from_len;
	ssize_t n;

	while ((left = end - audit_now_ms()) > 0) {
		if (poll(&p, 1, left) <= 0)
			continue;
		from_len = sizeof(from);
		n = recvfrom(fd, &got, sizeof(got), MSG_DONTWAIT,
			     (struct sockaddr *)&from, &from_len);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return -1;
		if (from.nl_pid ||
		    (size_t)n < sizeof(got.head) + sizeof(got.error) ||
		    got.head.nlmsg_type != NLMSG_ERROR ||
		    got.head.nlmsg_seq != seq)
			continue;
		answer->err = -got.error.error;
		return 0;
	}
	answer->err = AUDIT_NO_ANSWER;
	return 0;
}

/*
 * Sends one message, of at most AUDIT_TEXT_MAX bytes, to the kernel and asks for
 * an acknowledgement, as libaudit does: with an address, so that
 * netlink_capable() looks at who sends and not at who opened the socket
 * (NETLINK_SKB_DST, __netlink_ns_capable()). Returns its sequence number, or 0
 * with errno set.
 */
static inline unsigned int audit_send(int fd, unsigned short type,
				      const void *data, size_t len)
{
	static unsigned int seq;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct {
		struct nlmsghdr head;
		char data[AUDIT_TEXT_MAX];
	} message = { 0 };

	if (len)
		memcpy(message.data, data, len);
	message.head.nlmsg_len = NLMSG_LENGTH(len);
	message.head.nlmsg_type = type;
	message.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	message.head.nlmsg_seq = ++seq;
	if (sendto(fd, &message, message.head.nlmsg_len, 0,
		   (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return 0;
	return seq;
}

/*
 * Sends one message and waits for what the kernel says to it. Returns -1, with
 * errno set, when no answer could be asked for.
 */
static inline int audit_ask_data(int fd, unsigned short type, const void *data,
				 size_t len, struct audit_answer *answer)
{
	unsigned int seq;

	if (len > AUDIT_TEXT_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	answer->how = "sendto";
	answer->err = 0;
	seq = audit_send(fd, type, data, len);
	if (!seq) {
		answer->err = errno;
		return 0;
	}
	answer->how = "ack";
	return audit_wait(fd, seq, answer);
}

/* The same with a string, or nothing, as what it says. */
static inline int audit_ask(int fd, unsigned short type, const char *text,
			    struct audit_answer *answer)
{
	return audit_ask_data(fd, type, text, text ? strlen(text) + 1 : 0,
			      answer);
}

/* The group of a user namespace's records, with the series auditns only. */
#define NLGRP_USERNS	2

/* Joins a group that shows every record to readers (CAP_AUDIT_READ). */
static inline void audit_join(int fd, unsigned int group,
			      struct audit_answer *answer)
{
	struct sockaddr_nl self = {
		.nl_family = AF_NETLINK,
		.nl_groups = 1 << (group - 1),
	};

	answer->how = "bind";
	answer->err = bind(fd, (struct sockaddr *)&self, sizeof(self)) ?
		      errno : 0;
}

#endif
