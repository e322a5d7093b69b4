// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs a program in an audit container, as an orchestrator does:
 *
 *	named ID COMMAND [ARGUMENT...]
 *
 * A child waits until ID was written to its /proc/PID/audit_containerid, and
 * becomes COMMAND. The exit status is the command's, 128 and the signal when
 * it was killed, or 125 when the id was refused; then standard error has the
 * name of the errno.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REFUSED		125
#define NOT_FOUND	127

static int name_it(pid_t pid, const char *id)
{
	char path[64];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/%d/audit_containerid", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (write(fd, id, strlen(id)) < 0)
		err = errno;
	close(fd);
	return err;
}

int main(int argc, char **argv)
{
	int gate[2], status, err;
	pid_t pid;
	char go;

	if (argc < 3) {
		fputs("usage: named ID COMMAND [ARGUMENT...]\n", stderr);
		return REFUSED;
	}
	if (pipe2(gate, O_CLOEXEC)) {
		perror("named: pipe2");
		return REFUSED;
	}
	pid = fork();
	if (pid < 0) {
		perror("named: fork");
		return REFUSED;
	}
	if (!pid) {
		/* A parent that could not name us closes without a word. */
		close(gate[1]);
		if (read(gate[0], &go, 1) != 1)
			_exit(REFUSED);
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(NOT_FOUND);
	}
	close(gate[0]);
	err = name_it(pid, argv[1]);
	if (err)
		fprintf(stderr, "%s\n", strerrorname_np(err));
	else if (write(gate[1], "", 1) != 1)
		perror("named: write");
	close(gate[1]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
