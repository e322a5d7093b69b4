// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers as the audit daemon of the namespaces where it is run, and reads
 * slowly from a queue that is full:
 *
 *	reader HELD EVERY [WAIT]
 *
 * HELD records wait for it already, as if there had been no daemon for a while.
 * The kernel delivers these first, so that what is queued later stays where it
 * is for as long as it takes to read them, one each EVERY ms. After a SIGUSR1
 * it reads as fast as it can. The backlog limit is 64, the backlog wait time WAIT
 * in s, or the longest that there is. On the host WAIT has to be 0: there a daemon
 * that asks while the queue is full waits for room as others do. Where HELD is 0,
 * nothing is queued; where EVERY is 0 it reads fast from the beginning. Its socket
 * has room for a record or two.
 *
 * Prints the name of the errno that the registration was answered, 0 for none,
 * once the queue is full, and then each record that it reads: "TYPE TEXT".
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#include "netlink.h"

#define LIMIT		64
#define LONGEST_S	600	/* 10 * AUDIT_BACKLOG_WAIT_TIME */
#define TICKS		250	/* struct audit_status counts in jiffies */
#define NOT_ASKED	2

static volatile sig_atomic_t every_ms;

static void hurry(int signal)
{
	(void)signal;
	every_ms = 0;
}

static void set(int fd, const struct audit_status *status)
{
	struct audit_answer answer;

	if (audit_ask_data(fd, AUDIT_SET, status, sizeof(*status), &answer))
		answer.err = errno;
	if (answer.err) {
		puts(audit_errno_name(answer.err));
		exit(NOT_ASKED);
	}
}

/* How many records wait in the queue that has the limit. */
static unsigned int backlog(int fd)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nlmsghdr ask = {
		.nlmsg_len = NLMSG_LENGTH(0),
		.nlmsg_type = AUDIT_GET,
		.nlmsg_flags = NLM_F_REQUEST,
	};
	struct {
		struct nlmsghdr head;
		struct audit_status status;
	} got = { 0 };

	if (sendto(fd, &ask, ask.nlmsg_len, 0, (struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0)
		exit(NOT_ASKED);
	while (got.head.nlmsg_type != AUDIT_GET)
		if (recv(fd, &got, sizeof(got), 0) < 0)
			exit(NOT_ASKED);
	return got.status.backlog;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = hurry };
	struct audit_status status = { 0 };
	struct audit_answer answer;
	struct {
		struct nlmsghdr head;
		char text[AUDIT_TEXT_MAX];
	} record;
	int held, control, fd, least = 0, n;

	if (argc != 3 && argc != 4) {
		fputs("usage: reader HELD EVERY [WAIT]\n", stderr);
		return NOT_ASKED;
	}
	held = atoi(argv[1]);
	every_ms = atoi(argv[2]);
	sigaction(SIGUSR1, &action, NULL);
	control = audit_socket();
	fd = audit_socket();
	/* the kernel takes the least that it knows */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)))
		return NOT_ASKED;

	/* a change without a daemon is told in a record that is held */
	status.mask = AUDIT_STATUS_ENABLED | AUDIT_STATUS_BACKLOG_LIMIT |
		      AUDIT_STATUS_BACKLOG_WAIT_TIME;
	status.enabled = 1;
	status.backlog_limit = held + LIMIT;
	status.backlog_wait_time =
		(argc > 3 ? atoi(argv[3]) : LONGEST_S) * TICKS;
	set(control, &status);
	status.mask = AUDIT_STATUS_RATE_LIMIT;
	for (n = 0; n < held; n++)
		set(control, &status);
	while (held && backlog(control))
		sched_yield();

	status.mask = AUDIT_STATUS_PID | AUDIT_STATUS_BACKLOG_LIMIT;
	status.pid = getpid();
	status.backlog_limit = LIMIT;
	set(fd, &status);
	/* a daemon does not wait for room */
	while (held && backlog(control) <= LIMIT)
		audit_ask(control, AUDIT_USER_LOGIN, "waits", &answer);
	puts("0");
	fflush(stdout);

	for (;;) {
		struct timespec pause = { 0, every_ms * 1000000 };

		n = recv(fd, &record, sizeof(record), 0);
		if (n >= (int)sizeof(record.head)) {
			n -= sizeof(record.head);
			printf("%d %.*s\n", record.head.nlmsg_type, n,
			       record.text);
			fflush(stdout);
		}
		if (every_ms)
			nanosleep(&pause, NULL);
	}
}
