// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does things at the end of long chains of directories, once it is told to.
 *
 *	walk far TREE ASIDE
 *	walk rename TREE ASIDE BOARD
 *	walk open TREE BOARD
 *
 * TREE and ASIDE are empty directories of one file system. "far" makes a file
 * at the end of a chain in TREE, by the name "far", and moves one from the end
 * of a chain in ASIDE to TREE, by the name "moved".
 *
 * "rename" makes a file in a home at the end of a chain in TREE, and "open" opens
 * that, wherever its home goes: OPENS times. Meanwhile the first one moves the
 * home to TREE/other, and then the chain to ASIDE, so that the file never leaves
 * TREE. Who is on the way up the chain, and does not look again, ends in ASIDE.
 * Both look into the file BOARD to know of each other. "rename" prints how
 * often both moves were done before the file was open, and how many cycles
 * that takes when nothing moves.
 *
 * Each says when it is ready, and waits for a line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <x86intrin.h>

#include "tasks.h"

#define FAR		4200	/* further than the kernel goes up */
#define LONG		4000	/* nearly as far */
#define CALM		5	/* openings during which nothing moves */
#define OPENS		60	/* all of them */

struct board {
	/* the number of the opening that it was done for last: */
	atomic_uint ready;	/* the home is at the end of the chain */
	atomic_uint begun;
	atomic_uint done;
	/* how long an opening takes at least when nothing moves, in cycles */
	atomic_ullong walk;
};

/* Directories in which "rename" moves something. */
struct places {
	int tree, aside, other, end;
};

static int folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		stop(path);
	return fd;
}

/* Makes a directory, and goes there. */
static void enter(const char *name)
{
	if (mkdir(name, 0755) || chdir(name))
		stop(name);
}

static void make(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		stop(name);
	close(fd);
}

/*
 * The end of a chain of directories in another one, the first of which is
 * called chain. Where @watcher is an inotify, each has a mark of it, so that
 * audit has to compare it with those that rules name.
 */
static int chain(const char *above, int length, int watcher)
{
	int i;

	if (chdir(above))
		stop(above);
	for (i = 0; i < length; i++) {
		enter(i ? "x" : "chain");
		if (watcher >= 0 &&
		    inotify_add_watch(watcher, ".", IN_DELETE_SELF) < 0)
			stop("inotify_add_watch");
	}
	return folder(".");
}

static void move(const char *name, int from, int to)
{
	if (renameat(from, name, to, name))
		stop(name);
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
	getchar();
}

static void far(const char *tree, const char *aside)
{
	int there = chain(aside, FAR, -1), into = folder(tree);

	make("moved");
	chain(tree, FAR, -1);
	ready();
	prctl(PR_SET_NAME, "far");
	make("far");
	prctl(PR_SET_NAME, "moved");
	move("moved", there, into);
}

static struct board *open_board(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	struct board *board;

	if (fd < 0 || ftruncate(fd, sizeof(*board)))
		stop(path);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED,
		     fd, 0);
	if (board == MAP_FAILED)
		stop("mmap");
	close(fd);
	return board;
}

/* Who slept would be too late. */
static void wait_for(atomic_uint *what, unsigned int opening)
{
	while (*what < opening)
		sched_yield();
}

/* Returns whether both moves were done before the file was open. */
static bool overtake(const struct places *places, struct board *board,
		     unsigned int opening)
{
	unsigned long long start = __rdtsc();
	bool early;

	/* each time a little later */
	while (__rdtsc() - start < board->walk * opening / OPENS)
		;
	move("home", places->end, places->other);
	move("chain", places->tree, places->aside);
	early = board->done < opening;
	wait_for(&board->done, opening);
	move("chain", places->aside, places->tree);
	move("home", places->other, places->end);
	return early;
}

static void rename_above(const char *tree, const char *aside,
			 struct board *board)
{
	struct places places = { .tree = folder(tree), .aside = folder(aside) };
	unsigned int overtaken = 0, opening;
	int watcher = inotify_init1(IN_CLOEXEC);

	if (watcher < 0)
		stop("inotify_init1");
	if (chdir(tree))
		stop(tree);
	enter("other");
	places.other = folder(".");
	places.end = chain(tree, LONG, watcher);
	enter("home");
	make("file");
	ready();
	for (opening = 1; opening <= OPENS; opening++) {
		board->ready = opening;
		wait_for(&board->begun, opening);
		if (opening <= CALM)
			wait_for(&board->done, opening);
		else
			overtaken += overtake(&places, board, opening);
	}
	printf("%u %llu\n", overtaken, board->walk);
}

static void open_often(const char *tree, struct board *board)
{
	unsigned long long start, took;
	unsigned int opening;
	int fd;

	board->walk = ULLONG_MAX;
	if (chdir(tree) || chdir("chain"))
		stop(tree);
	while (!chdir("x"))
		;
	if (chdir("home"))
		stop("home");
	ready();
	for (opening = 1; opening <= OPENS; opening++) {
		wait_for(&board->ready, opening);
		start = __rdtsc();
		board->begun = opening;
		fd = open("file", O_RDONLY | O_CLOEXEC);
		took = __rdtsc() - start;
		if (opening <= CALM && took < board->walk)
			board->walk = took;
		board->done = opening;
		if (fd < 0)
			stop("file");
		close(fd);
	}
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "far")) {
		far(argv[2], argv[3]);
	} else if (argc == 5 && !strcmp(argv[1], "rename")) {
		rename_above(argv[2], argv[3], open_board(argv[4]));
	} else if (argc == 4 && !strcmp(argv[1], "open")) {
		open_often(argv[2], open_board(argv[3]));
	} else {
		fputs("usage: walk far|rename|open ...\n", stderr);
		return FAILED;
	}
	return 0;
}
