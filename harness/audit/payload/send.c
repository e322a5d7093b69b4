// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sends user messages to audit from wherever it is run, without libaudit and
 * so without what libaudit hides:
 *
 *	send [--type N] [--repeat N] TEXT...
 *
 * The words of TEXT are joined by blanks; N is a message type (1112 if not
 * said, AUDIT_USER_LOGIN), or how often to send. Each message makes one line
 *
 *	<errno name, 0 or TIMEOUT> <sendto|ack> pid=<pid here>
 *
 * and the exit status is 0 whatever the answers were. Where the kernel could
 * not be asked, the line says "socket" or "recv" and the exit status is 2.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "netlink.h"

#define NOT_ASKED	2

static int usage(void)
{
	fputs("usage: send [--type N] [--repeat N] TEXT...\n", stderr);
	return NOT_ASKED;
}

static int number(const char *word, unsigned long max, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(word, &end, 10);
	return *word >= '0' && *word <= '9' && !*end && !errno &&
	       *value && *value <= max;
}

int main(int argc, char **argv)
{
	unsigned long type = AUDIT_USER_LOGIN, repeat = 1;
	static char text[AUDIT_TEXT_MAX];
	struct audit_answer answer;
	size_t len = 0;
	int at, fd;

	for (at = 1; at < argc && !strncmp(argv[at], "--", 2); at += 2) {
		unsigned long *value, max = 1000000;

		if (!strcmp(argv[at], "--")) {
			at++;
			break;
		}
		value = &repeat;
		if (!strcmp(argv[at], "--type")) {
			value = &type;
			max = 65535;	/* nlmsg_type is a u16 */
		} else if (strcmp(argv[at], "--repeat")) {
			return usage();
		}
		if (at + 1 == argc || !number(argv[at + 1], max, value))
			return usage();
	}
	if (at >= argc)
		return usage();
	for (; at < argc; at++) {
		size_t room = sizeof(text) - len;
		int n = snprintf(text + len, room, "%s%s", len ? " " : "",
				 argv[at]);

		if (n < 0 || (size_t)n >= room) {
			fprintf(stderr, "send: longer than %d bytes\n",
				AUDIT_TEXT_MAX - 1);
			return NOT_ASKED;
		}
		len += n;
	}

	fd = audit_socket();
	if (fd < 0) {
		audit_say(errno, "socket");
		return NOT_ASKED;
	}
	while (repeat--) {
		if (audit_ask(fd, type, text, &answer)) {
			audit_say(errno, "recv");
			return NOT_ASKED;
		}
		audit_say(answer.err, answer.how);
	}
	return 0;
}
