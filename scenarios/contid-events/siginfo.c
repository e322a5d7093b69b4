// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stands in for the audit daemon and tells who signalled it:
 *
 *	siginfo COMMAND [ARGUMENT...]
 *
 * Registers itself, runs COMMAND with its pid in NSAUDIT_DAEMON, and asks with
 * AUDIT_SIGNAL_INFO2, twice. Each answer makes one line, ERRNO PID CONTAINERS;
 * where the list is empty the word is "-".
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "netlink.h"

#define SIGNAL_INFO2	1021
#define NOT_ASKED	2

struct info {
	uid_t uid;
	pid_t pid;
	uint32_t cid_len;
	char data[];
};

static int ask(int fd)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nlmsghdr head = {
		.nlmsg_len = NLMSG_LENGTH(0),
		.nlmsg_type = SIGNAL_INFO2,
		.nlmsg_flags = NLM_F_REQUEST,
	};
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	union {
		struct nlmsghdr head;
		char room[AUDIT_TEXT_MAX];
	} got;
	struct info *info;
	ssize_t n;

	if (sendto(fd, &head, head.nlmsg_len, 0, (struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0 || poll(&ready, 1, AUDIT_ANSWER_MS) <= 0)
		return -1;
	n = recv(fd, &got, sizeof(got), 0);
	if (n < 0)
		return -1;
	if (got.head.nlmsg_type == NLMSG_ERROR) {
		struct nlmsgerr *error = NLMSG_DATA(&got.head);

		printf("%s - -\n", audit_errno_name(-error->error));
		return 0;
	}
	info = NLMSG_DATA(&got.head);
	if (n < (ssize_t)(NLMSG_HDRLEN + sizeof(*info) + info->cid_len))
		return -1;
	printf("0 %d %.*s\n", info->pid, info->cid_len ? (int)info->cid_len : 1,
	       info->cid_len ? info->data : "-");
	return 0;
}

int main(int argc, char **argv)
{
	struct audit_status status = {
		.mask = AUDIT_STATUS_PID,
		.pid = getpid(),
	};
	struct audit_answer answer;
	int daemon, other, state;
	char number[16];
	pid_t pid;

	if (argc < 2)
		return NOT_ASKED;
	signal(SIGUSR2, SIG_IGN);
	daemon = audit_socket();
	other = audit_socket();
	if (daemon < 0 || other < 0 ||
	    audit_ask_data(daemon, AUDIT_SET, &status, sizeof(status),
			   &answer)) {
		perror("siginfo");
		return NOT_ASKED;
	}
	if (answer.err) {
		fprintf(stderr, "siginfo: %s\n", audit_errno_name(answer.err));
		return NOT_ASKED;
	}
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("NSAUDIT_DAEMON", number, 1);
	pid = fork();
	if (!pid) {
		execvp(argv[1], argv + 1);
		_exit(NOT_ASKED);
	}
	if (pid < 0 || waitpid(pid, &state, 0) != pid || ask(other) ||
	    ask(other)) {
		perror("siginfo");
		return NOT_ASKED;
	}
	return 0;
}
