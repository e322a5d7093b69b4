// SPDX-License-Identifier: GPL-2.0-only
/*
 * Has the kernel do operations of io_uring:
 *
 *	uring call|worker|poll openat|mkdirat COUNT PATH [PID]
 *
 * in io_uring_enter(2), by a worker, or by a polling thread. With COUNT 1 the
 * path is PATH, else PATH0, PATH1 and so on. Where a PID is given, the task goes
 * into the user namespace of that one before, and does the operations with the
 * credentials that it had until then. Prints its pid, and what each operation
 * returned: 0, or the negative errno; the exit status is 2 if it could not ask.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tasks.h"

#define MAX	1024

struct ring {
	int fd;
	struct io_uring_params params;
	char *rings;
	struct io_uring_sqe *sqes;
};

static char paths[MAX][128];

static unsigned int *member(struct ring *ring, unsigned int offset)
{
	return (unsigned int *)(ring->rings + offset);
}

static void *map(struct ring *ring, size_t size, off_t what)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, ring->fd, what);

	if (at == MAP_FAILED)
		stop("mmap");
	return at;
}

static void make(struct ring *ring, unsigned int count, int poll)
{
	struct io_uring_params *params = &ring->params;
	size_t size, sq;

	memset(ring, 0, sizeof(*ring));
	if (poll) {
		params->flags = IORING_SETUP_SQPOLL;
		params->sq_thread_idle = 1000;
	}
	ring->fd = syscall(SYS_io_uring_setup, count, params);
	if (ring->fd < 0)
		stop("io_uring_setup");
	/* one mapping holds both queues, since 5.4 */
	size = params->cq_off.cqes +
	       params->cq_entries * sizeof(struct io_uring_cqe);
	sq = params->sq_off.array + params->sq_entries * sizeof(unsigned int);
	ring->rings = map(ring, size > sq ? size : sq, IORING_OFF_SQ_RING);
	ring->sqes = map(ring, params->sq_entries * sizeof(*ring->sqes),
			 IORING_OFF_SQES);
}

static void fill(struct ring *ring, unsigned int n, int op, int async,
		 int personality)
{
	struct io_uring_sqe *sqe = &ring->sqes[n];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->flags = async ? IOSQE_ASYNC : 0;
	sqe->fd = AT_FDCWD;
	sqe->addr = (unsigned long)paths[n];
	if (op == IORING_OP_MKDIRAT)
		sqe->len = 0755;
	else
		sqe->open_flags = O_RDONLY;
	sqe->user_data = n;
	sqe->personality = personality;
	member(ring, ring->params.sq_off.array)[n] = n;
}

static void submit(struct ring *ring, unsigned int count, int poll)
{
	unsigned int *tail = member(ring, ring->params.sq_off.tail);
	unsigned int *flags = member(ring, ring->params.sq_off.flags);
	unsigned int how = IORING_ENTER_GETEVENTS;

	__atomic_store_n(tail, count, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (poll && __atomic_load_n(flags, __ATOMIC_ACQUIRE) &
		    IORING_SQ_NEED_WAKEUP)
		how |= IORING_ENTER_SQ_WAKEUP;
	while (syscall(SYS_io_uring_enter, ring->fd, count, count, how, NULL,
		       0) < 0)
		if (errno != EINTR)
			stop("io_uring_enter");
}

static void print(struct ring *ring, unsigned int count)
{
	struct io_uring_cqe *cqes;
	int results[MAX];
	unsigned int n;

	cqes = (void *)member(ring, ring->params.cq_off.cqes);
	for (n = 0; n < count; n++)
		results[cqes[n].user_data] = cqes[n].res < 0 ? cqes[n].res : 0;
	printf("%d", (int)getpid());
	for (n = 0; n < count; n++)
		printf(" %d", results[n]);
	puts("");
}

/* Joins the user namespace of a process; the credentials as they were before. */
static int borrow(struct ring *ring, const char *pid)
{
	int id = syscall(SYS_io_uring_register, ring->fd,
			 IORING_REGISTER_PERSONALITY, NULL, 0), fd;
	char path[64];

	if (id < 0)
		stop("io_uring_register");
	snprintf(path, sizeof(path), "/proc/%s/ns/user", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWUSER))
		stop("setns");
	return id;
}

int main(int argc, char **argv)
{
	int op, async, poll, personality = 0;
	unsigned int count, n;
	struct ring ring;

	if (argc < 5 || argc > 6 || atoi(argv[3]) < 1 || atoi(argv[3]) > MAX) {
		fputs("usage: uring HOW OPERATION COUNT PATH [PID]\n", stderr);
		return FAILED;
	}
	async = !strcmp(argv[1], "worker");
	poll = !strcmp(argv[1], "poll");
	op = strcmp(argv[2], "mkdirat") ? IORING_OP_OPENAT : IORING_OP_MKDIRAT;
	count = atoi(argv[3]);
	for (n = 0; n < count; n++)
		snprintf(paths[n], sizeof(paths[n]), count > 1 ? "%s%u" : "%s",
			 argv[4], n);

	make(&ring, count, poll);
	if (argc == 6)
		personality = borrow(&ring, argv[5]);
	for (n = 0; n < count; n++)
		fill(&ring, n, op, async, personality);
	submit(&ring, count, poll);
	print(&ring, count);
	return 0;
}
