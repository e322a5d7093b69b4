// SPDX-License-Identifier: GPL-2.0-only
/*
 * Has audit daemons come and go, each in user, PID and network namespaces of its
 * own:
 *
 *	lives ROUNDS
 *
 * Each round has every way in which a daemon can end: it closes its socket,
 * exits, leaves its network namespace first, has a child with the socket, or
 * leaves a full queue behind. Prints a line for each, "WAY ERRNO": what the
 * kernel said to its registration.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "netlink.h"
#include "tasks.h"

#define FLOOD	100

static int ask(int fd, int type, const void *data, size_t len)
{
	struct audit_answer answer;

	if (audit_ask_data(fd, type, data, len, &answer))
		stop("recv");
	return answer.err;
}

/* The first process of the namespaces: a daemon, for which nobody waits. */
static _Noreturn void serve(const char *way)
{
	struct audit_status status = {
		.mask = AUDIT_STATUS_ENABLED | AUDIT_STATUS_PID |
			AUDIT_STATUS_BACKLOG_WAIT_TIME,
		.enabled = 1,
		.pid = getpid(),
	};
	struct audit_rule_data rule = {
		.flags = AUDIT_FILTER_EXIT, .action = AUDIT_ALWAYS,
	};
	static char text[8000] = "of a life";
	int fd = audit_socket(), program, n;
	pid_t pid;

	printf("%s %s\n", way,
	       audit_errno_name(ask(fd, AUDIT_SET, &status, sizeof(status))));
	fflush(stdout);

	/* A rule, and who does what it is about, in a namespace below. */
	rule.mask[AUDIT_WORD(SYS_getpriority)] = AUDIT_BIT(SYS_getpriority);
	ask(fd, AUDIT_ADD_RULE, &rule, sizeof(rule));
	pid = start();
	if (!pid) {
		if (unshare(CLONE_NEWUSER))
			stop("unshare");
		getpriority(PRIO_PROCESS, 0);
		_exit(0);
	}
	reap(pid);
	program = audit_socket();
	ask(program, AUDIT_USER_LOGIN, text, strlen(text) + 1);

	if (!strcmp(way, "close")) {
		close(fd);
	} else if (!strcmp(way, "network")) {
		if (unshare(CLONE_NEWNET))
			stop("unshare");
	} else if (!strcmp(way, "inherited")) {
		/* who has the socket then is not who registered */
		if (!start())
			_exit(0);
	} else if (!strcmp(way, "full")) {
		/* nothing is read: what does not fit is lost */
		memset(text, 'f', sizeof(text) - 1);
		for (n = 0; n < FLOOD; n++)
			audit_send(program, AUDIT_USER_LOGIN, text,
				   sizeof(text));
	}
	_exit(0);
}

static void live(const char *way)
{
	pid_t pid = start();

	if (pid) {
		if (result(pid))
			stop("a life");
		return;
	}
	unshare_as_root(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET);
	pid = start();
	if (!pid)
		serve(way);
	reap(pid);
	_exit(0);
}

int main(int argc, char **argv)
{
	static const char *const ways[] = {
		"close", "exit", "network", "inherited", "full",
	};
	int rounds = argc == 2 ? atoi(argv[1]) : 0;
	size_t n;

	if (rounds < 1) {
		fputs("usage: lives ROUNDS\n", stderr);
		return FAILED;
	}
	while (rounds--)
		for (n = 0; n < sizeof(ways) / sizeof(ways[0]); n++)
			live(ways[n]);
	return 0;
}
