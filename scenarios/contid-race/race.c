// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names tasks while others name them, or while they fork:
 *
 *	race FIRST
 *
 * FIRST is the first of the ids that are used. Each line of the output tells
 * what became of one:
 *
 *	target ROUND ID ERRNO FOUND
 *	id ROUND ID ERRNO FOUND
 *	fork ROUND ID ERRNO FOUND BUSY AGAIN OUTSIDE
 *
 * Of "target" one orchestrator's threads write an id each to the same task, of
 * "id" two orchestrators write the same id to a task each, all at once; of
 * "fork" one writes to a task that makes one child after the other. ERRNO is a
 * name, 0 for none, FOUND what the task was in afterwards. BUSY is how often
 * the orchestrator was told EBUSY before, AGAIN how often the task could not
 * make a child (EAGAIN), OUTSIDE how many of its children were elsewhere than
 * itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "tasks.h"

/* A kernel without the locks was found out once in 50 and once in 200. */
#define TARGET_ROUNDS	100
#define ID_ROUNDS	400
#define WRITERS		4
#define RIVALS		2
#define LOOKS		1000
/* Named so often while it made a child, or in so many rounds not: enough. */
#define CAUGHT		10
#define FORK_ROUNDS	300
#define STEP		100	/* of a spin, at least */

enum { NOWHERE, INSIDE, ELSEWHERE };	/* how a child of "fork" exits */

/* In memory that all processes have in common. */
static struct shared {
	atomic_uint writers, rivals, told, born;	/* see meet() */
	atomic_uint turn;		/* rises before each fork */
	atomic_bool named;
	unsigned int again, outside;
} *shared;

struct writer {
	pthread_t thread;
	pid_t target;
	unsigned int id;
	int err;
};

static int open_file(pid_t pid, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/audit_containerid", (int)pid);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		stop(path);
	return fd;
}

static int put(int fd, unsigned int id)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", id);

	return pwrite(fd, text, len, 0) < 0 ? errno : 0;
}

struct text {
	char s[32];
};

static struct text look(pid_t pid)
{
	int fd = open_file(pid, O_RDONLY);
	struct text found = { "" };

	if (read(fd, found.s, sizeof(found.s) - 1) < 0)
		stop("reading an id");
	close(fd);
	if (!strcmp(found.s, "18446744073709551615"))
		strcpy(found.s, "unset");
	return found;
}

/*
 * Waits until @count have come. Who slept would be woken after the others had
 * done it: so nobody sleeps, but now and then lets others run.
 */
static void meet(atomic_uint *gate, unsigned int count)
{
	unsigned int all = (atomic_fetch_add(gate, 1) / count + 1) * count;
	unsigned int i;

	for (i = 1; *gate < all; i++)
		if (!(i % LOOKS))
			sched_yield();
}

/* -- one target ---------------------------------------------------------- */

static void *write_id(void *arg)
{
	struct writer *writer = arg;
	int fd = open_file(writer->target, O_WRONLY);

	meet(&shared->writers, WRITERS);
	writer->err = put(fd, writer->id);
	close(fd);
	return NULL;
}

static void one_target(unsigned int round, unsigned int first)
{
	struct writer writers[WRITERS];
	pid_t target = child();
	struct text found;
	int i;

	for (i = 0; i < WRITERS; i++) {
		writers[i].target = target;
		writers[i].id = first + i;
		errno = pthread_create(&writers[i].thread, NULL, write_id,
				       &writers[i]);
		if (errno)
			stop("pthread_create");
	}
	for (i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	found = look(target);
	for (i = 0; i < WRITERS; i++)
		printf("target %u %u %s %s\n", round, writers[i].id,
		       strerrorname_np(writers[i].err) ?: "0", found.s);
	fflush(stdout);
	end(target);
}

/* -- one id -------------------------------------------------------------- */

static _Noreturn void be_rival(unsigned int id)
{
	unsigned int round;
	pid_t target = 0;
	int fd, err;

	for (round = 0; round < ID_ROUNDS; round++, id++) {
		/* Who lost has still one that is in no container. */
		if (!target) {
			target = child();
			fd = open_file(target, O_WRONLY);
		}
		meet(&shared->rivals, RIVALS);
		err = put(fd, id);
		meet(&shared->told, RIVALS);
		printf("id %u %u %s %s\n", round, id,
		       strerrorname_np(err) ?: "0", look(target).s);
		fflush(stdout);
		if (!err) {
			close(fd);
			end(target);
			target = 0;
		}
	}
	_exit(0);
}

static void one_id(unsigned int first)
{
	pid_t rivals[RIVALS];
	int status, i;

	for (i = 0; i < RIVALS; i++) {
		rivals[i] = start_bound();
		if (!rivals[i])
			be_rival(first);
	}
	for (i = 0; i < RIVALS; i++)
		if (waitpid(rivals[i], &status, 0) != rivals[i] || status)
			stop("a rival");
}

/* -- a target that forks ------------------------------------------------- */

static int compare(pid_t parent)
{
	struct text ours = look(getpid()), its = look(parent);

	if (strcmp(ours.s, its.s))
		return ELSEWHERE;
	return strcmp(ours.s, "unset") ? INSIDE : NOWHERE;
}

/* Makes one child after the other, until one is born in a container. */
static _Noreturn void be_parent(void)
{
	pid_t self = getpid(), pid;
	int status;

	do {
		status = 0;
		shared->turn++;
		pid = fork();
		if (!pid)
			_exit(compare(self));
		if (pid < 0 && errno != EAGAIN)
			stop("fork");
		if (pid < 0) {
			shared->again++;
			continue;
		}
		if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
			stop("a child");
		shared->outside += WEXITSTATUS(status) == ELSEWHERE;
	} while (!shared->named || WEXITSTATUS(status) != INSIDE);
	meet(&shared->born, 2);
	pause();
	_exit(0);
}

static void spin(unsigned int count)
{
	while (count--)
		atomic_signal_fence(memory_order_seq_cst);
}

static void forking(unsigned int round, unsigned int id)
{
	static unsigned int delay;
	unsigned int busy = 0, turn = 0;
	pid_t target;
	int fd, err;

	shared->turn = 0;
	shared->named = false;
	shared->again = 0;
	shared->outside = 0;
	target = start_bound();
	if (!target)
		be_parent();
	fd = open_file(target, O_WRONLY);
	for (;;) {
		while (shared->turn == turn)
			;
		turn = shared->turn;
		spin(delay);
		err = put(fd, id);
		if (err != EBUSY)
			break;
		/* Too late: there is a child. */
		delay -= delay / 8;
		busy++;
	}
	shared->named = true;
	close(fd);
	/* What was refused for another reason never has a child inside. */
	if (!err)
		meet(&shared->born, 2);
	/* Too early: nothing was under way. */
	if (!shared->again && !shared->outside)
		delay += delay / 8 + STEP;
	printf("fork %u %u %s %s %u %u %u\n", round, id,
	       strerrorname_np(err) ?: "0", look(target).s, busy,
	       shared->again, shared->outside);
	fflush(stdout);
	end(target);
}

int main(int argc, char **argv)
{
	unsigned int first, round, caught = 0;

	if (argc != 2) {
		fputs("usage: race FIRST\n", stderr);
		return FAILED;
	}
	first = strtoul(argv[1], NULL, 10);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		stop("mmap");

	for (round = 0; round < TARGET_ROUNDS; round++, first += WRITERS)
		one_target(round, first);
	one_id(first);
	first += ID_ROUNDS;
	for (round = 0; round < FORK_ROUNDS && caught < CAUGHT; round++) {
		forking(round, first++);
		caught += shared->again + shared->outside;
	}
	return 0;
}
