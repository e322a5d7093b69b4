// SPDX-License-Identifier: GPL-2.0-only
/*
 * Adds or deletes a rule of the exit list that asks for one system call of the
 * tasks in one namespace, which Debian's auditctl does not know how to say:
 *
 *	nsrule add|del FIELD OPERATOR VALUE SYSCALL KEY
 *
 * FIELD, OPERATOR, VALUE and SYSCALL are numbers as in linux/audit.h and
 * asm/unistd.h. The kernel's answer makes one line, the errno's name or 0, and
 * the exit status is 0 whatever it was; 2 when the kernel could not be asked.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "netlink.h"

#define NOT_ASKED	2

int main(int argc, char **argv)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct {
		struct nlmsghdr head;
		struct audit_rule_data rule;
		char key[AUDIT_MAX_KEY_LEN];
	} message = { 0 };
	struct audit_rule_data *rule = &message.rule;
	struct audit_answer answer;
	unsigned int call;
	size_t len;
	int fd;

	if (argc != 7 || strlen(argv[6]) >= sizeof(message.key)) {
		fputs("usage: nsrule add|del FIELD OPERATOR VALUE SYSCALL KEY\n",
		      stderr);
		return NOT_ASKED;
	}
	call = strtoul(argv[5], NULL, 0);
	len = strlen(argv[6]);
	rule->flags = AUDIT_FILTER_EXIT;
	rule->action = AUDIT_ALWAYS;
	rule->mask[AUDIT_WORD(call) % AUDIT_BITMASK_SIZE] = AUDIT_BIT(call);
	rule->field_count = 2;
	rule->fields[0] = strtoul(argv[2], NULL, 0);
	rule->fieldflags[0] = strtoul(argv[3], NULL, 0);
	rule->values[0] = strtoul(argv[4], NULL, 0);
	rule->fields[1] = AUDIT_FILTERKEY;
	rule->fieldflags[1] = AUDIT_EQUAL;
	rule->values[1] = len;
	rule->buflen = len;
	memcpy((char *)rule + sizeof(*rule), argv[6], len);
	message.head.nlmsg_len = NLMSG_LENGTH(sizeof(*rule) + len);
	message.head.nlmsg_type = strcmp(argv[1], "del") ? AUDIT_ADD_RULE :
							   AUDIT_DEL_RULE;
	message.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	message.head.nlmsg_seq = 1;

	fd = audit_socket();
	if (fd < 0 || sendto(fd, &message, message.head.nlmsg_len, 0,
			     (struct sockaddr *)&kernel, sizeof(kernel)) < 0 ||
	    audit_wait(fd, 1, &answer)) {
		perror("nsrule");
		return NOT_ASKED;
	}
	puts(audit_errno_name(answer.err));
	return 0;
}
