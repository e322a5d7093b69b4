// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes audit daemons that read slowly, each in user, PID and network
 * namespaces of its own:
 *
 *	hold COUNT BUSY RECORDS EVERY
 *
 * For each, RECORDS records are held as if there had been no daemon for a while.
 * Prints "held" when all of them are there; with the next line of its input,
 * each begins to read one each EVERY ms, and to have more queued. Prints "begun"
 * when BUSY of them have read some, and "." for each that has read half of what
 * was held. Where one cannot be made, it says why and ends.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>

#include "netlink.h"

/* How many records are read until another one is queued, or it has begun. */
#define KICKS	4
#define BEGUN	5

static _Noreturn void stop(const char *what)
{
	printf("%s: %s\n", what, audit_errno_name(errno));
	fflush(stdout);
	_exit(2);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		stop(path);
	close(fd);
}

static void set(int fd, unsigned int mask, int held)
{
	struct audit_status status = {
		.mask = mask,
		.enabled = 1,
		.pid = getpid(),
		.backlog_limit = held + 64,
	};
	struct audit_answer answer;

	if (audit_ask_data(fd, AUDIT_SET, &status, sizeof(status), &answer))
		stop("recv");
	errno = answer.err;
	if (errno)
		stop("AUDIT_SET");
}

/* The first process of the namespaces. */
static _Noreturn void serve(int records, int every_ms, int ready, int go)
{
	struct timespec every = { 0, every_ms * 1000000 };
	int control = audit_socket(), fd = audit_socket(), least = 0, yes = 1, n;
	struct audit_answer answer;
	char record[AUDIT_TEXT_MAX], byte = '.';

	/* room for a record or two, and for the next one once one is read */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)) ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &yes, sizeof(yes)))
		stop("setsockopt");
	/* a change without a daemon is told in a record that is held */
	set(control, AUDIT_STATUS_ENABLED | AUDIT_STATUS_BACKLOG_LIMIT, records);
	for (n = 2; n < records; n++)
		set(control, AUDIT_STATUS_ENABLED, records);
	set(fd, AUDIT_STATUS_PID, records);

	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) < 0)
		stop("a pipe");
	for (n = 0; n <= records / 2; nanosleep(&every, NULL)) {
		/* keep the kernel busy, also where it has given up */
		if (n % KICKS == 0)
			audit_ask(control, AUDIT_USER_LOGIN, "more", &answer);
		n += recv(fd, record, sizeof(record), 0) > 0;
		if (n == BEGUN && write(ready, &byte, 1) != 1)
			stop("a pipe");
	}
	if (write(STDOUT_FILENO, ".", 1) != 1)
		stop("write");
	for (;;)
		pause();
}

/* Waits for one byte of so many. */
static void gather(int ready, int count)
{
	char byte;

	while (count--)
		if (read(ready, &byte, 1) != 1)
			exit(2);
}

int main(int argc, char **argv)
{
	int ready[2], go[2], count, n;
	char byte;

	if (argc != 5) {
		fputs("usage: hold COUNT BUSY RECORDS EVERY\n", stderr);
		return 2;
	}
	count = atoi(argv[1]);
	if (pipe(ready) || pipe(go))
		stop("pipe");
	for (n = 0; n < count; n++) {
		if (fork())
			continue;
		if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET))
			stop("unshare");
		put("/proc/self/uid_map", "0 0 1");
		put("/proc/self/setgroups", "deny");
		put("/proc/self/gid_map", "0 0 1");
		close(go[1]);
		if (!fork())
			serve(atoi(argv[3]), atoi(argv[4]), ready[1], go[0]);
		_exit(0);
	}
	close(ready[1]);
	gather(ready[0], count);
	puts("held");
	fflush(stdout);

	/* all of them see the end of the pipe at the same time */
	if (read(STDIN_FILENO, &byte, 1) < 0)
		stop("read");
	close(go[1]);
	gather(ready[0], atoi(argv[2]));
	puts("begun");
	fflush(stdout);
	for (;;)
		pause();
}
