// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes system calls whose events have a record more than others:
 *
 *	calls [time]
 *
 * A pipe, and a queue of messages that is given to USER and GROUP; with "time"
 * the clock is set by a little and its frequency and tick changed by one call,
 * and these two set back. Prints the ends of the pipe.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/timex.h>
#include <unistd.h>

#define USER	61
#define GROUP	62

static int change_time(void)
{
	struct timex now = { 0 }, change = { 0 };

	if (adjtimex(&now) < 0)
		return -1;
	change.modes = ADJ_SETOFFSET | ADJ_NANO | ADJ_FREQUENCY | ADJ_TICK;
	change.time.tv_usec = 1;
	change.freq = now.freq + (1 << 16);
	change.tick = now.tick + 1;
	if (adjtimex(&change) < 0)
		return -1;
	change.modes = ADJ_FREQUENCY | ADJ_TICK;
	change.freq = now.freq;
	change.tick = now.tick;
	return adjtimex(&change);
}

int main(int argc, char **argv)
{
	struct msqid_ds queue;
	int ends[2], id;

	id = msgget(IPC_PRIVATE, 0600);
	if (pipe2(ends, O_CLOEXEC) || id < 0 || msgctl(id, IPC_STAT, &queue))
		goto failed;
	queue.msg_perm.uid = USER;
	queue.msg_perm.gid = GROUP;
	queue.msg_perm.mode = 0640;
	if (msgctl(id, IPC_SET, &queue) || msgctl(id, IPC_RMID, NULL))
		goto failed;
	if (argc > 1 && !strcmp(argv[1], "time") && change_time() < 0)
		goto failed;
	printf("%d %d\n", ends[0], ends[1]);
	return 0;
failed:
	perror("calls");
	return 2;
}
