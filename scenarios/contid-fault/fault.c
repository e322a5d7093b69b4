// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does each thing that concerns a container again and again: its first
 * allocation in the kernel fails, then its second, and so on until nothing
 * fails any more. Prints a line for each time, as fault.h says. An id that was
 * refused is written once more before the line is printed.
 *
 * The one argument is the first of the ids that it uses, one for each step.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fault.h"

#define NEVER		1000000	/* more than anything allocates */
#define TAIL		40	/* of what makes a network namespace */
#define EXITS		20
#define CONTID		27	/* AUDIT_CONTID: a u64 in the buffer */

static const char contid[] = "audit_containerid";
static const char capcontid[] = "audit_capcontainerid";

/* -- what is looked at --------------------------------------------------- */

static int open_file(pid_t pid, const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		stop(path);
	return fd;
}

static const char *look(pid_t pid, const char *name)
{
	static char text[32];
	int fd = open_file(pid, name, O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	if (n < 0)
		stop(name);
	text[n] = '\0';
	close(fd);
	return strcmp(text, "18446744073709551615") ? text : "unset";
}

static int put(int fd, const char *text)
{
	return pwrite(fd, text, strlen(text), 0) < 0 ? errno : 0;
}

static const char *decimal(uint64_t value)
{
	static char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return text;
}

/* -- tasks --------------------------------------------------------------- */

/* Runs it in a task of its own; what it returns, which is below 126. */
static int apart(int (*body)(uint64_t, unsigned int), uint64_t id,
		 unsigned int nth)
{
	pid_t pid = start();

	if (!pid) {
		own_faults();
		exit(body(id, nth));
	}
	return result(pid);
}

/* The same in a container. */
static void contained(int (*body)(uint64_t, unsigned int), uint64_t id,
		      unsigned int nth)
{
	int gate[2], status, fd;
	pid_t pid;
	char go;

	if (pipe2(gate, O_CLOEXEC))
		stop("pipe2");
	pid = start();
	if (!pid) {
		if (read(gate[0], &go, 1) != 1)
			stop("the gate");
		own_faults();
		exit(body(id, nth));
	}
	fd = open_file(pid, contid, O_WRONLY);
	errno = put(fd, decimal(id));
	if (errno)
		stop("naming a task");
	close(fd);
	if (write(gate[1], "", 1) != 1)
		stop("the gate");
	close(gate[0]);
	close(gate[1]);
	if (waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "a task in a container ended with status %x\n",
			status);
		exit(FAILED);
	}
}

/* -- steps --------------------------------------------------------------- */

#define AGAIN	1	/* an allocation failed, so there may be one more */

/* An orchestrator of its own writes to a file of a child. */
static int write_file(const char *step, const char *name, const char *text,
		      const char *none, unsigned int nth)
{
	unsigned int before = lost();
	pid_t target = child();
	int fd = open_file(target, name, O_WRONLY), err;
	char state[80];
	bool failed;

	arm(nth);
	err = put(fd, text);
	failed = !disarm();
	snprintf(state, sizeof(state), "%s", look(target, name));
	if (!strcmp(state, none)) {
		int again = put(fd, text);

		snprintf(state, sizeof(state), "%s,%s,%s", none,
			 audit_errno_name(again), look(target, name));
	}
	close(fd);
	end(target);
	say(step, nth, failed, err, state, before);
	return failed ? AGAIN : 0;
}

static int set(uint64_t id, unsigned int nth)
{
	return write_file("set", contid, decimal(id), "unset", nth);
}

static int delegate(uint64_t id, unsigned int nth)
{
	(void)id;
	return write_file("delegate", capcontid, "1", "0", nth);
}

static unsigned int have_child(const char *step, unsigned long flags,
			       unsigned int nth)
{
	unsigned int before = lost(), left;
	const char *state = "none";
	int err = 0;
	long pid;

	arm(nth);
	pid = syscall(SYS_clone, SIGCHLD | flags, NULL, NULL, NULL, NULL);
	if (!pid) {
		for (;;)
			pause();
	}
	if (pid < 0)
		err = errno;
	left = disarm();
	if (pid > 0) {
		state = look(pid, contid);
		end(pid);
	}
	if (nth != NEVER)
		say(step, nth, !left, err, state, before);
	return left;
}

static int forks(uint64_t id, unsigned int nth)
{
	(void)id;
	while (!have_child("fork", 0, nth))
		nth++;
	return 0;
}

/* Most of what fails here is not ours: what comes last is. */
static int clones(uint64_t id, unsigned int nth)
{
	unsigned int all = NEVER - have_child("clone", CLONE_NEWNET, NEVER);

	(void)id;
	nth = all > TAIL ? all - TAIL : 1;
	while (!have_child("clone", CLONE_NEWNET, nth))
		nth++;
	return 0;
}

static int moves(uint64_t id, unsigned int nth)
{
	int home = open_file(getpid(), "ns/net", O_RDONLY), away, err;
	struct stat there, here;
	unsigned int left;
	char state[64];

	(void)id;
	if (unshare(CLONE_NEWNET))
		stop("unshare");
	away = open_file(getpid(), "ns/net", O_RDONLY);
	do {
		unsigned int before = lost();

		if (setns(home, CLONE_NEWNET))
			stop("setns");
		arm(nth);
		err = setns(away, CLONE_NEWNET) ? errno : 0;
		left = disarm();
		if (fstat(away, &there) || stat("/proc/self/ns/net", &here))
			stop("stat");
		snprintf(state, sizeof(state), "%s,%s",
			 here.st_ino == there.st_ino ? "away" : "home",
			 look(getpid(), contid));
		say("setns", nth, !left, err, state, before);
		nth++;
	} while (!left);
	return 0;
}

static int rules(uint64_t id, unsigned int nth)
{
	static union {
		struct audit_rule_data rule;
		char room[sizeof(struct audit_rule_data) + sizeof(uint64_t)];
	} made;
	struct audit_rule_data *rule = &made.rule;
	const char *state;
	unsigned int left;
	int fd = -1, err;

	rule->flags = AUDIT_FILTER_EXIT;
	rule->action = AUDIT_NEVER;
	rule->field_count = 1;
	rule->fields[0] = CONTID;
	rule->fieldflags[0] = AUDIT_EQUAL;
	rule->values[0] = rule->buflen = sizeof(id);
	memcpy(rule->buf, &id, sizeof(id));
	rule->mask[AUDIT_WORD(SYS_getpid)] = AUDIT_BIT(SYS_getpid);

	do {
		unsigned int before = lost();

		fd = renew(fd);
		arm(nth);
		err = ask(fd, AUDIT_ADD_RULE, rule, sizeof(made));
		left = disarm();
		/* An answer that could not be sent is no answer to this. */
		fd = renew(fd);
		state = take_rule(fd, rule, sizeof(made));
		say("rule", nth, !left, err, state, before);
		nth++;
	} while (!left);
	return 0;
}

/* From a namespace of its own: where that is recorded, too, it can fail. */
static int messages(uint64_t id, unsigned int nth)
{
	unsigned int left;
	int fd = -1, err;

	(void)id;
	if (unshare(CLONE_NEWUTS))
		stop("unshare");
	do {
		unsigned int before = lost();

		fd = renew(fd);
		arm(nth);
		err = say_number(fd, nth);
		left = disarm();
		say("message", nth, !left, err, "-", before);
		nth++;
	} while (!left);
	return 0;
}

/* The third argument is nothing to the kernel, but it is in the record. */
static int calls(uint64_t id, unsigned int nth)
{
	unsigned int left;
	int err;

	(void)id;
	do {
		unsigned int before = lost();

		arm(nth);
		err = syscall(SYS_getpriority, 0, 0, nth) < 0 ? errno : 0;
		left = disarm();
		say("call", nth, !left, err, "-", before);
		nth++;
	} while (!left);
	return 0;
}

/* A child in a container, and in the process group of another, 0 for its own. */
static pid_t target(uint64_t id, pid_t group)
{
	pid_t pid = child();
	int fd = open_file(pid, contid, O_WRONLY);

	if (setpgid(pid, group))
		stop("setpgid");
	errno = put(fd, decimal(id));
	if (errno)
		stop("naming a task");
	close(fd);
	return pid;
}

/*
 * Two containers by one call, which remembers both. Without memory for another
 * one that is not signalled, and as the first was, the call succeeds.
 */
static int signals(uint64_t id, unsigned int nth)
{
	pid_t first = target(id, 0), second = target(id + 1, first);
	unsigned int left;
	int err;

	do {
		unsigned int before = lost();

		arm(nth);
		err = kill(-first, 0) ? errno : 0;
		left = disarm();
		say("signal", nth, !left, err, "-", before);
		nth++;
	} while (!left);
	end(second);
	end(first);
	return 0;
}

static int leave(uint64_t id, unsigned int nth)
{
	(void)id;
	arm(nth);
	syscall(SYS_exit_group, 0);
	return 0;
}

/* How much an exit allocates nobody is left to say. */
static int exits(uint64_t id, unsigned int nth)
{
	unsigned int before = lost();

	contained(leave, id, nth);
	say("exit", nth, nth < EXITS, 0, "-", before);
	return nth < EXITS ? AGAIN : 0;
}

/* Each time from an orchestrator of its own: an id that leaks is taken. */
static void repeat(int (*body)(uint64_t, unsigned int), uint64_t id)
{
	unsigned int nth = 1;

	while (apart(body, id, nth) == AGAIN)
		if (++nth > NTH_MAX)
			stop("there is no end");
}

int main(int argc, char **argv)
{
	uint64_t id;

	if (argc != 2) {
		fputs("usage: fault ID\n", stderr);
		return FAILED;
	}
	id = strtoull(argv[1], NULL, 10);
	repeat(set, id++);
	repeat(delegate, 0);
	contained(forks, id++, 1);
	contained(clones, id++, 1);
	contained(moves, id++, 1);
	apart(rules, id++, 1);
	contained(messages, id++, 1);
	contained(calls, id++, 1);
	apart(signals, id++, 1);
	id++;
	repeat(exits, id++);
	return 0;
}
