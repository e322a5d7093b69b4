// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asks audit the same things from every mix of namespaces and capabilities,
 * and prints what each was answered. Run as root in the initial namespaces:
 *
 *	probe [TAG]					all 128 cells
 *	probe --one CLASS USER PID NET CAP [TAG]	one of them
 *
 * A cell is a line of seven columns with tabs between:
 *
 *	class	user: an AUDIT_USER_LOGIN message; control: AUDIT_GET;
 *		multicast: bind() to AUDIT_NLGRP_READLOG; unknown: type 1999,
 *		which the kernel keeps for itself and never accepts
 *	user, pid, net	initial, or other: a namespace made for the cell
 *	cap	none, write, control, read: the one CAP_AUDIT_ capability in
 *		all sets of the process, held in its own user namespace
 *	errno	by name; 0 for success; TIMEOUT for no answer in 5 s
 *	how	where it came from: sendto, ack (NLMSG_ERROR) or bind
 *
 * The capabilities are given up before the socket is made: since 90f62cf30a78
 * ("net: Use netlink_capable() to verify the permissions of netlink messages")
 * both who opens a socket and who sends may count.
 *
 * The text of each user message holds TAG and the cell, so that a reader of
 * the records can tell which cells were recorded. The answers do not depend
 * on "auditctl -e": with enabled=0 a user message is still refused without
 * CAP_AUDIT_WRITE, and otherwise answered with 0 and dropped in silence. A
 * kernel booted with audit=0 has no audit socket, which is not a cell but an
 * error here.
 *
 * Exits 0 when every cell was probed, whatever the answers; 2 when one could
 * not be set up, with a line on stderr and none for that cell.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "netlink.h"

#define NOT_PROBED	2
#define UNKNOWN_TYPE	1999	/* linux/audit.h: "future kernel use" */
#define USER_NS_INO	0xEFFFFFFDU	/* PROC_USER_INIT_INO, proc_ns.h */
#define PID_NS_INO	0xEFFFFFFCU	/* PROC_PID_INIT_INO */
#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

enum { USER, CONTROL, MULTICAST, UNKNOWN };
enum { INITIAL, OTHER };

static const char *const classes[] = {
	[USER] = "user",
	[CONTROL] = "control",
	[MULTICAST] = "multicast",
	[UNKNOWN] = "unknown",
};
static const char *const places[] = {
	[INITIAL] = "initial",
	[OTHER] = "other",
};
static const char *const caps[] = { "none", "write", "control", "read" };
static const int cap_numbers[] = {
	-1, CAP_AUDIT_WRITE, CAP_AUDIT_CONTROL, CAP_AUDIT_READ
};

struct cell {
	int class, user, pid, net, cap;
};

/* Also for the child of a clone: nothing of stdio is flushed twice. */
static void die(const char *format, ...)
{
	int err = errno;
	va_list args;

	fputs("probe: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(err));
	_exit(NOT_PROBED);
}

static void say_cell(FILE *to, const struct cell *c, char between)
{
	fprintf(to, "%s%c%s%c%s%c%s%c%s", classes[c->class], between,
		places[c->user], between, places[c->pid], between,
		places[c->net], between, caps[c->cap]);
}

/* Leaves @cap (-1: none) in every capability set, and makes sure of it. */
static void keep_only(int cap)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct want[2] = { 0 }, have[2];

	for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		if (i != cap && prctl(PR_CAPBSET_DROP, i, 0, 0, 0))
			die("bounding set, capability %d", i);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		die("ambient set");
	if (cap >= 0) {
		__u32 bit = CAP_TO_MASK(cap);

		want[CAP_TO_INDEX(cap)] = (struct __user_cap_data_struct){
			.effective = bit, .permitted = bit, .inheritable = bit,
		};
	}
	if (syscall(SYS_capset, &head, want))
		die("capset");
	if (syscall(SYS_capget, &head, have))
		die("capget");
	errno = EPROTO;
	if (memcmp(want, have, sizeof(want)))
		die("capabilities are not as set");
	for (int i = 0, set; (set = prctl(PR_CAPBSET_READ, i, 0, 0, 0)) >= 0;
	     i++)
		if (set != (i == cap))
			die("bounding set is not as set");
}

static void ask(const struct cell *c, const char *tag,
		struct audit_answer *answer)
{
	char text[512];
	int fd, lost = 0;

	keep_only(cap_numbers[c->cap]);
	fd = audit_socket();
	if (fd < 0)
		die("audit socket");
	switch (c->class) {
	case USER:
		snprintf(text, sizeof(text),
			 "op=netlink-errno tag=%s cell=%s:%s:%s:%s res=success",
			 tag, places[c->user], places[c->pid], places[c->net],
			 caps[c->cap]);
		lost = audit_ask(fd, AUDIT_USER_LOGIN, text, answer);
		break;
	case CONTROL:
		lost = audit_ask(fd, AUDIT_GET, NULL, answer);
		break;
	case UNKNOWN:
		lost = audit_ask(fd, UNKNOWN_TYPE, NULL, answer);
		break;
	case MULTICAST:
		audit_join(fd, AUDIT_NLGRP_READLOG, answer);
		break;
	}
	if (lost)
		die("audit socket, reading");
}

static void write_map(pid_t pid, const char *name)
{
	static const char map[] = "0 0 65536\n";
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, map, sizeof(map) - 1) != sizeof(map) - 1)
		die("%s", path);
	close(fd);
}

/* What a child sends back; a string would be an address of another process. */
struct reply {
	int err;
	char how[8];
};

static void probe(const struct cell *c, const char *tag)
{
	unsigned long flags = SIGCHLD;
	int go[2], back[2], status;
	struct audit_answer answer;
	struct reply reply = { 0 };
	ssize_t got;
	pid_t pid;
	char word;

	if (c->user == OTHER)
		flags |= CLONE_NEWUSER;
	if (c->pid == OTHER)
		flags |= CLONE_NEWPID;
	if (c->net == OTHER)
		flags |= CLONE_NEWNET;
	if (pipe2(go, O_CLOEXEC) || pipe2(back, O_CLOEXEC))
		die("pipe");
	/* With flags and no stack of its own, clone() is a fork(). */
	pid = syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
	if (pid < 0)
		die("clone");
	if (!pid) {
		close(go[1]);
		if (read(go[0], &word, 1) != 1)
			_exit(NOT_PROBED);
		ask(c, tag, &answer);
		reply.err = answer.err;
		snprintf(reply.how, sizeof(reply.how), "%s", answer.how);
		if (write(back[1], &reply, sizeof(reply)) != sizeof(reply))
			die("write");
		_exit(0);
	}
	close(go[0]);
	close(back[1]);
	if (c->user == OTHER) {
		write_map(pid, "uid_map");
		write_map(pid, "gid_map");
	}
	if (write(go[1], "", 1) != 1)
		die("write");
	got = read(back[0], &reply, sizeof(reply));
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (got != sizeof(reply) || status) {
		fputs("probe: no answer for ", stderr);
		say_cell(stderr, c, ' ');
		fprintf(stderr, ": wait status %#x\n", status);
		exit(NOT_PROBED);
	}
	close(go[1]);
	close(back[0]);
	say_cell(stdout, c, '\t');
	printf("\t%s\t%s\n", audit_errno_name(reply.err), reply.how);
	fflush(stdout);
}

/* A cell called "initial" must be so: the caller's namespaces are checked. */
static void check_place(void)
{
	struct stat self, init;

	if (stat("/proc/self/ns/user", &self))
		die("/proc/self/ns/user");
	errno = EPERM;
	if (self.st_ino != USER_NS_INO || geteuid())
		die("not root of the initial user namespace");
	if (stat("/proc/self/ns/pid", &self))
		die("/proc/self/ns/pid");
	errno = EPERM;
	if (self.st_ino != PID_NS_INO)
		die("not in the initial PID namespace");
	if (stat("/proc/self/ns/net", &self) || stat("/proc/1/ns/net", &init))
		die("/proc/1/ns/net");
	errno = EPERM;
	if (self.st_ino != init.st_ino)
		die("not in the network namespace of process 1");
}

static int find(const char *word, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(word, names[i]))
			return i;
	fprintf(stderr, "probe: %s: no such word here\n", word);
	exit(NOT_PROBED);
}

static void probe_all(const char *tag)
{
	/* One digit for each column, the last one changing fastest. */
	for (int i = 0; i < 128; i++) {
		struct cell c = {
			.class = i / 32,
			.user = i / 16 % 2,
			.pid = i / 8 % 2,
			.net = i / 4 % 2,
			.cap = i % 4,
		};

		probe(&c, tag);
	}
}

int main(int argc, char **argv)
{
	int one = argc > 1 && !strcmp(argv[1], "--one");
	struct cell c;

	if (one ? argc < 7 || argc > 8 : argc > 2) {
		fputs("usage: probe [TAG]\n"
		      "       probe --one CLASS USER PID NET CAP [TAG]\n",
		      stderr);
		return NOT_PROBED;
	}
	check_place();
	if (!one) {
		probe_all(argc > 1 ? argv[1] : "none");
		return 0;
	}
	c.class = find(argv[2], classes, COUNT(classes));
	c.user = find(argv[3], places, COUNT(places));
	c.pid = find(argv[4], places, COUNT(places));
	c.net = find(argv[5], places, COUNT(places));
	c.cap = find(argv[6], caps, COUNT(caps));
	probe(&c, argc > 7 ? argv[7] : "none");
	return 0;
}
