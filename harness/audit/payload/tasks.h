/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tasks that a program starts for a while, and where it goes itself. What goes
 * wrong with them ends it with the status FAILED.
 *
 * The includer defines _GNU_SOURCE before its first header.
 */
#ifndef NSAUDIT_TASKS_H
#define NSAUDIT_TASKS_H

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED		2

static inline _Noreturn void stop(const char *what)
{
	perror(what);
	exit(FAILED);
}

/* Writes a text to a file that is there, at once. */
static inline void put_text(const char *file, const char *text)
{
	ssize_t len = strlen(text);
	int fd = open(file, O_WRONLY);

	if (fd < 0 || write(fd, text, len) != len)
		stop(file);
	close(fd);
}

/* New namespaces, a user namespace among them in which root is root. */
static inline void unshare_as_root(int flags)
{
	if (unshare(flags))
		stop("unshare");
	put_text("/proc/self/setgroups", "deny");
	put_text("/proc/self/uid_map", "0 0 1");
	put_text("/proc/self/gid_map", "0 0 1");
}

/* Joins the user namespace that a file shows. */
static inline void join_userns(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWUSER))
		stop(file);
	close(fd);
}

/* As fork(2). */
static inline pid_t start(void)
{
	pid_t pid = fork();

	if (pid < 0)
		stop("fork");
	return pid;
}

/* The same, for a child that does not outlive its parent. */
static inline pid_t start_bound(void)
{
	pid_t pid = start();

	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* A child that does nothing. */
static inline pid_t child(void)
{
	pid_t pid = start_bound();

	if (!pid)
		for (;;)
			pause();
	return pid;
}

static inline void reap(pid_t pid)
{
	if (waitpid(pid, NULL, 0) != pid)
		stop("waitpid");
}

static inline void end(pid_t pid)
{
	kill(pid, SIGKILL);
	reap(pid);
}

/* What a child returns, which is below 126. */
static inline int result(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) == FAILED) {
		fprintf(stderr, "a task ended with status %x\n", status);
		exit(FAILED);
	}
	return WEXITSTATUS(status);
}

#endif
