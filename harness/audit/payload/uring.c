// SPDX-License-Identifier: GPL-2.0-only
/*
 * Has the kernel do operations of io_uring:
 *
 *	uring call|twice|hold|worker|poll openat|mkdirat COUNT PATH [PID]
 *	uring call|worker|poll send list|get|set
 *	uring then|linked nop|bind|wait PATH|--connect
 *	uring apart PATH
 *
 * in io_uring_enter(2), by a worker, or by a polling thread. With COUNT 1 the
 * path is PATH, else PATH0, PATH1 and so on; twice does the last of them again,
 * in a call of its own, and hold waits in the call for something to read in
 * PATH.go, a pipe. There is one worker, which does one after the other. Where a
 * PID is given, the task goes into the user namespace of that one before, and
 * does the operations with the credentials that it had until then. A message
 * that is sent asks the kernel for its rules or its status, or enables audit. In
 * one call, and linked or not, the last form does nothing, joins audit's
 * multicast group, or waits as hold does; and then opens PATH to write, or has a
 * socket of IPv4 know its peer; apart makes no call while it does that, and until
 * there is something to read in PATH.end, and then two. Prints its pid, and what
 * each operation returned: 0, or the negative errno; and the name of the errno
 * that a message was answered; the exit status is 2 if it could not ask.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "netlink.h"
#include "tasks.h"

#define MAX	1024
#define OP_BIND	56	/* IORING_OP_BIND, since 6.11 */

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
	unsigned int workers[] = { 1, 1 };
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
	if (syscall(SYS_io_uring_register, ring->fd,
		    IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2) < 0)
		stop("io_uring_register");
}

static struct io_uring_sqe *fill(struct ring *ring, unsigned int n, int op,
				 int flags)
{
	struct io_uring_sqe *sqe = &ring->sqes[n];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->flags = flags;
	sqe->user_data = n;
	member(ring, ring->params.sq_off.array)[n] = n;
	return sqe;
}

static void fill_path(struct ring *ring, unsigned int n, int op, int flags,
		      const char *path, int how)
{
	struct io_uring_sqe *sqe = fill(ring, n, op, flags);

	sqe->fd = AT_FDCWD;
	sqe->addr = (unsigned long)path;
	if (op == IORING_OP_MKDIRAT)
		sqe->len = 0755;
	else
		sqe->open_flags = how;
}

/* Submits some more, and waits until all are done. */
static void submit(struct ring *ring, unsigned int count, int poll)
{
	unsigned int *tail = member(ring, ring->params.sq_off.tail);
	unsigned int *flags = member(ring, ring->params.sq_off.flags);
	unsigned int how = IORING_ENTER_GETEVENTS, all = *tail + count;

	__atomic_store_n(tail, all, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (poll && __atomic_load_n(flags, __ATOMIC_ACQUIRE) &
		    IORING_SQ_NEED_WAKEUP)
		how |= IORING_ENTER_SQ_WAKEUP;
	while (syscall(SYS_io_uring_enter, ring->fd, count, all, how, NULL,
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
			 IORING_REGISTER_PERSONALITY, NULL, 0);
	char path[64];

	if (id < 0)
		stop("io_uring_register");
	snprintf(path, sizeof(path), "/proc/%s/ns/user", pid);
	join_userns(path);
	return id;
}

static int send_message(const char *how, const char *what)
{
	struct {
		struct nlmsghdr head;
		struct audit_status status;
	} message = {
		.head = {
			.nlmsg_len = sizeof(message.head),
			.nlmsg_type = AUDIT_GET,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
			.nlmsg_seq = 1,
		},
		.status = { .mask = AUDIT_STATUS_ENABLED, .enabled = 1 },
	};
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct iovec part = { .iov_base = &message };
	struct msghdr msg = {
		.msg_name = &kernel, .msg_namelen = sizeof(kernel),
		.msg_iov = &part, .msg_iovlen = 1,
	};
	int fd = audit_socket(), poll = !strcmp(how, "poll");
	struct audit_answer answer;
	struct io_uring_sqe *sqe;
	struct ring ring;

	if (fd < 0)
		stop("socket");
	if (!strcmp(what, "list")) {
		message.head.nlmsg_type = AUDIT_LIST_RULES;
	} else if (!strcmp(what, "set")) {
		message.head.nlmsg_type = AUDIT_SET;
		message.head.nlmsg_len = sizeof(message);
	}
	part.iov_len = message.head.nlmsg_len;

	make(&ring, 1, poll);
	sqe = fill(&ring, 0, IORING_OP_SENDMSG,
		   strcmp(how, "worker") ? 0 : IOSQE_ASYNC);
	sqe->fd = fd;
	sqe->addr = (unsigned long)&msg;
	sqe->len = 1;
	submit(&ring, 1, poll);
	if (audit_wait(fd, 1, &answer))
		stop("recvfrom");
	print(&ring, 1);
	puts(audit_errno_name(answer.err));
	return 0;
}

/* Of datagrams, so that nobody need be there. */
static void fill_connect(struct ring *ring, unsigned int n,
			 const struct sockaddr_in *peer)
{
	struct io_uring_sqe *sqe = fill(ring, n, IORING_OP_CONNECT, 0);

	sqe->fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (sqe->fd < 0)
		stop("socket");
	sqe->addr = (unsigned long)peer;
	sqe->addr2 = sizeof(*peer);
}

/* Opened to write, too, it has no end. */
static void fill_wait(struct ring *ring, unsigned int n, int flags,
		      const char *path, const char *name)
{
	struct io_uring_sqe *sqe = fill(ring, n, IORING_OP_POLL_ADD, flags);
	char pipe[128];

	snprintf(pipe, sizeof(pipe), "%s.%s", path, name);
	sqe->fd = open(pipe, O_RDWR | O_NONBLOCK);
	if (sqe->fd < 0)
		stop(pipe);
	sqe->poll32_events = POLLIN;
}

/* What is done while the task is in no call is done on its way to user space. */
static int do_apart(const char *path)
{
	unsigned int *done;
	struct ring ring;

	make(&ring, 3, 0);
	fill_wait(&ring, 0, IOSQE_IO_HARDLINK, path, "go");
	fill_path(&ring, 1, IORING_OP_OPENAT, 0, path, O_WRONLY);
	fill_wait(&ring, 2, 0, path, "end");
	__atomic_store_n(member(&ring, ring.params.sq_off.tail), 3,
			 __ATOMIC_RELEASE);
	done = member(&ring, ring.params.cq_off.tail);
	printf("%d\n", (int)getpid());
	fflush(stdout);
	if (syscall(SYS_io_uring_enter, ring.fd, 3, 0, 0, NULL, 0) != 3)
		stop("io_uring_enter");
	while (__atomic_load_n(done, __ATOMIC_ACQUIRE) < 3)
		;
	syscall(SYS_getppid);
	syscall(SYS_getppid);
	print(&ring, 3);
	return 0;
}

/* The last is done whatever becomes of the first, be it linked. */
static int do_after(const char *how, const char *first, const char *path)
{
	struct sockaddr_nl self = {
		.nl_family = AF_NETLINK,
		.nl_groups = 1 << (AUDIT_NLGRP_READLOG - 1),
	};
	struct sockaddr_in peer = {
		.sin_family = AF_INET,
		.sin_port = htons(9),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int flags = strcmp(how, "linked") ? 0 : IOSQE_IO_HARDLINK;
	struct io_uring_sqe *sqe;
	struct ring ring;

	make(&ring, 2, 0);
	if (!strcmp(first, "wait")) {
		fill_wait(&ring, 0, flags, path, "go");
	} else if (strcmp(first, "bind")) {
		fill(&ring, 0, IORING_OP_NOP, flags);
	} else {
		sqe = fill(&ring, 0, OP_BIND, flags);
		sqe->fd = audit_socket();
		if (sqe->fd < 0)
			stop("socket");
		sqe->addr = (unsigned long)&self;
		sqe->addr2 = sizeof(self);
	}
	if (strcmp(path, "--connect"))
		fill_path(&ring, 1, IORING_OP_OPENAT, 0, path, O_WRONLY);
	else
		fill_connect(&ring, 1, &peer);
	submit(&ring, 2, 0);
	print(&ring, 2);
	return 0;
}

int main(int argc, char **argv)
{
	int op, flags, poll, twice, hold, personality = 0;
	unsigned int count, n;
	struct ring ring;

	if (argc == 4 && !strcmp(argv[2], "send"))
		return send_message(argv[1], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "apart"))
		return do_apart(argv[2]);
	if (argc == 4)
		return do_after(argv[1], argv[2], argv[3]);
	if (argc < 5 || argc > 6 || atoi(argv[3]) < 1 || atoi(argv[3]) >= MAX) {
		fputs("usage: uring HOW OPERATION COUNT PATH [PID]\n", stderr);
		return FAILED;
	}
	flags = strcmp(argv[1], "worker") ? 0 : IOSQE_ASYNC;
	poll = !strcmp(argv[1], "poll");
	twice = !strcmp(argv[1], "twice");
	hold = !strcmp(argv[1], "hold");
	op = strcmp(argv[2], "mkdirat") ? IORING_OP_OPENAT : IORING_OP_MKDIRAT;
	count = atoi(argv[3]);
	for (n = 0; n < count; n++)
		snprintf(paths[n], sizeof(paths[n]), count > 1 ? "%s%u" : "%s",
			 argv[4], n);

	make(&ring, count + twice + hold, poll);
	if (argc == 6)
		personality = borrow(&ring, argv[5]);
	for (n = 0; n < count; n++) {
		fill_path(&ring, n, op, flags, paths[n], O_RDONLY);
		ring.sqes[n].personality = personality;
	}
	if (hold)
		fill_wait(&ring, count++, 0, argv[4], "go");
	submit(&ring, count, poll);
	if (twice) {
		fill_path(&ring, count, op, flags, paths[count - 1], O_RDONLY);
		submit(&ring, 1, poll);
	}
	print(&ring, count + twice);
	return 0;
}
