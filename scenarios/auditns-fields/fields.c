// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does what rules by who and by what can tell apart, once for each rule:
 *
 *	fields COUNT FILE [PID]
 *
 * Takes a user and a group of its own in each place where a task has one, see
 * IDS below, and enters the user namespace of PID with them, where it is named.
 * Prints its pid, waits for the end of its input, and then calls COUNT times
 * getppid(n) and open(FILE, O_RDONLY, n), and sends COUNT messages, "fields-n-"
 * of the type FIRST_TYPE + n. Prints the name of the errno of the last, 0 for none.
 */
#define _GNU_SOURCE
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>

#include "netlink.h"
#include "tasks.h"

/* IDS: real, effective, saved, of file systems, and of the login. */
enum { REAL = 51, EFFECTIVE, SAVED, OF_FILES, LOGIN };
/* AUDIT_FIRST_USER_MSG2, the first of 900. */
#define FIRST_TYPE	2100

static void take_ids(void)
{
	/* to have the capabilities still when it is not root any more */
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP))
		stop("securebits");
	/* setfsuid(2) tells what it was before, whatever comes of it */
	if (setresgid(REAL, EFFECTIVE, SAVED) || setfsgid(OF_FILES) < 0 ||
	    setfsgid(-1) != OF_FILES)
		stop("groups");
	if (setresuid(REAL, EFFECTIVE, SAVED) || setfsuid(OF_FILES) < 0 ||
	    setfsuid(-1) != OF_FILES)
		stop("users");
}

int main(int argc, char **argv)
{
	struct audit_answer answer = { 0 };
	int count, fd, n;
	char text[64];

	if (argc < 3 || argc > 4) {
		fputs("usage: fields COUNT FILE [PID]\n", stderr);
		return 2;
	}
	count = atoi(argv[1]);
	fd = audit_socket();
	if (fd < 0)
		stop("socket");
	snprintf(text, sizeof(text), "%d", LOGIN);
	put_text("/proc/self/loginuid", text);
	take_ids();
	if (argc > 3) {
		snprintf(text, sizeof(text), "/proc/%s/ns/user", argv[3]);
		join_userns(text);
	}
	printf("%d\n", getpid());
	fflush(stdout);
	while (getchar() != EOF)
		;

	for (n = 0; n < count; n++) {
		int file;

		syscall(SYS_getppid, n);
		file = syscall(SYS_open, argv[2], O_RDONLY, n);
		if (file < 0)
			stop(argv[2]);
		close(file);
		snprintf(text, sizeof(text), "fields-%d-", n);
		if (audit_ask(fd, FIRST_TYPE + n, text, &answer))
			stop("a message");
	}
	puts(audit_errno_name(answer.err));
	return 0;
}
