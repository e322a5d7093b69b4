// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures what system calls cost, for a guest whose time-stamp counter
 * counts instructions:
 *
 *	cost time ROUNDS [userns|FILE]
 *	cost records
 *
 * "time" does each thing ROUNDS times, with "userns" in a user namespace of
 * its own, with FILE (/proc/PID/ns/user) in that one, and prints a line for
 * it, its name and one number for each round: what the counter went on
 * meanwhile. "empty" does nothing, and "loop" is LOOP_INSTRUCTIONS long, so
 * that both tell whether the counter counts what it should.
 *
 * "records" does each thing once and prints a line for each audit record that
 * came of it, "NAME TYPE BYTES": the message type and the length of the text.
 *
 * While it measures nothing else runs on the only processor: it has a
 * real-time priority, which its children inherit. Before each round it sleeps,
 * so that what the last one left behind is done by then, the timer tick too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "netlink.h"
#include "tasks.h"

#define ROUNDS_MAX		1000
#define PAUSE_NS		20000000
#define PRIORITY		10
#define LOOP_INSTRUCTIONS	20000
#define SPACES	(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | \
		 CLONE_NEWNS)

static const char throttle[] = "/proc/sys/kernel/sched_rt_runtime_us";
static const char mark[] = "nsaudit-cost";

static inline uint64_t now(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static void do_nothing(void)
{ }

static void do_loop(void)
{
	unsigned long left = LOOP_INSTRUCTIONS / 2;

	__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(left) : : "cc");
}

static void do_getppid(void)
{
	syscall(SYS_getppid);
}

static void do_open(void)
{
	int fd = syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);

	if (fd < 0)
		stop("openat");
	syscall(SYS_close, fd);
}

/* Not by libc, whose own work would be counted too. */
static void have_child(unsigned long flags)
{
	long pid = syscall(SYS_clone, SIGCHLD | flags, NULL, NULL, NULL, NULL);

	if (!pid)
		syscall(SYS_exit_group, 0);
	if (pid < 0)
		stop("clone");
	syscall(SYS_wait4, pid, NULL, 0, NULL);
}

static void do_fork(void)
{
	have_child(0);
}

static void do_clone(void)
{
	have_child(SPACES);
}

static void do_userns(void)
{
	have_child(CLONE_NEWUSER);
}

static const struct {
	const char *name;
	void (*act)(void);
} things[] = {
	{ "empty", do_nothing }, { "loop", do_loop },
	{ "getppid", do_getppid }, { "open", do_open },
	{ "fork", do_fork }, { "clone", do_clone },
	{ "userns", do_userns },
};

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

static void take_processor(void)
{
	struct sched_param priority = { .sched_priority = PRIORITY };

	put_text(throttle, "-1");
	if (sched_setscheduler(0, SCHED_FIFO, &priority))
		stop("sched_setscheduler");
}

static void enter(const char *place)
{
	/* who has no id there can make no user namespace */
	if (!strcmp(place, "userns"))
		unshare_as_root(CLONE_NEWUSER);
	else
		join_userns(place);
}

static int measure(unsigned long rounds, const char *place)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	static uint64_t took[ROUNDS_MAX];
	unsigned long round;
	uint64_t began;
	size_t i;

	take_processor();
	if (place)
		enter(place);
	for (i = 0; i < COUNT(things); i++) {
		for (round = 0; round < rounds; round++) {
			nanosleep(&pause, NULL);
			began = now();
			things[i].act();
			took[round] = now() - began;
		}
		printf("%s", things[i].name);
		for (round = 0; round < rounds; round++)
			printf(" %llu", (unsigned long long)took[round]);
		putchar('\n');
		fflush(stdout);
	}
	return 0;
}

/*
 * Prints the records up to our own mark, which comes after all of @name's.
 * What names the container or the namespaces of a mark comes after it.
 */
static void drain(int reader, int fd, const char *name)
{
	static unsigned int last_mark;
	struct pollfd p = { .fd = reader, .events = POLLIN };
	struct audit_answer answer;
	unsigned int serial;
	struct {
		struct nlmsghdr head;
		char text[AUDIT_TEXT_MAX + 1];
	} got;
	ssize_t n;

	if (audit_ask(fd, AUDIT_USER, mark, &answer) || answer.err)
		stop("the mark");
	for (;;) {
		if (poll(&p, 1, AUDIT_ANSWER_MS) <= 0)
			stop("poll");
		n = recv(reader, &got, sizeof(got) - 1, 0);
		if (n < (ssize_t)sizeof(got.head))
			stop("recv");
		n -= sizeof(got.head);
		got.text[n] = '\0';
		if (sscanf(got.text, "audit(%*u.%*u:%u)", &serial) != 1)
			stop("a record without a serial number");
		if (got.head.nlmsg_type == AUDIT_USER &&
		    strstr(got.text, mark)) {
			last_mark = serial;
			return;
		}
		if (name && serial != last_mark)
			printf("%s %u %zd\n", name, got.head.nlmsg_type, n);
	}
}

static int list_records(void)
{
	int reader = audit_socket(), fd = audit_socket();
	struct audit_answer answer;
	size_t i;

	if (reader < 0 || fd < 0)
		stop("socket");
	audit_join(reader, AUDIT_NLGRP_READLOG, &answer);
	if (answer.err)
		stop("bind");
	drain(reader, fd, NULL);
	for (i = 0; i < COUNT(things); i++) {
		things[i].act();
		drain(reader, fd, things[i].name);
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;

	if (argc == 2 && !strcmp(argv[1], "records"))
		return list_records();
	if ((argc == 3 || argc == 4) && !strcmp(argv[1], "time") && rounds &&
	    rounds <= ROUNDS_MAX)
		return measure(rounds, argv[3]);
	fputs("usage: cost time ROUNDS [userns|FILE] | cost records\n", stderr);
	return FAILED;
}
