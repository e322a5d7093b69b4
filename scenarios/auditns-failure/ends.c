// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes user namespaces that end because they cannot be audited:
 *
 *	ends COUNT
 *
 * Each has PID and network namespaces of its own, and a daemon that reads nothing
 * and wants failure mode 2. Prints how many were killed.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdbool.h>

#include "netlink.h"
#include "tasks.h"

#define USER_LOGIN	1112	/* AUDIT_USER_LOGIN of libaudit */

static void ask(int fd, int type, const void *data, size_t len)
{
	struct audit_answer answer;

	if (audit_ask_data(fd, type, data, len, &answer))
		stop("recv");
	errno = answer.err;
	if (errno)
		stop(type == AUDIT_SET ? "AUDIT_SET" : "USER_LOGIN");
}

/* The first process of the namespaces, and one that says more than is kept. */
static _Noreturn void serve(void)
{
	struct audit_status status = {
		.mask = AUDIT_STATUS_ENABLED | AUDIT_STATUS_PID |
			AUDIT_STATUS_FAILURE | AUDIT_STATUS_BACKLOG_LIMIT |
			AUDIT_STATUS_BACKLOG_WAIT_TIME,
		.enabled = 1,
		.pid = getpid(),
		.failure = AUDIT_FAIL_PANIC,
		.backlog_limit = 1,
	};
	int fd = audit_socket();

	if (fd < 0)
		stop("socket");
	ask(fd, AUDIT_SET, &status, sizeof(status));
	if (!start())
		for (fd = audit_socket();;)
			ask(fd, USER_LOGIN, "too much", sizeof("too much"));
	for (;;)
		pause();
}

static bool was_killed(void)
{
	pid_t pid = start();
	int status;

	if (!pid) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET))
			stop("unshare");
		pid = start();
		if (!pid)
			serve();
		reap(pid);
		_exit(FAILED);
	}
	if (waitpid(pid, &status, 0) != pid)
		stop("waitpid");
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

int main(int argc, char **argv)
{
	int count, killed = 0;

	if (argc != 2) {
		fputs("usage: ends COUNT\n", stderr);
		return FAILED;
	}
	for (count = atoi(argv[1]); count > 0; count--)
		killed += was_killed();
	printf("%d\n", killed);
	return 0;
}
