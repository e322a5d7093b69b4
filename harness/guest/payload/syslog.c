// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints what programs send to /dev/log (syslog(3)), a line for a message, so
 * that a guest needs no log daemon. It runs until it is killed.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX,
				    .sun_path = "/dev/log" };
	static char text[8192];
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	ssize_t n;

	unlink(name.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) ||
	    chmod(name.sun_path, 0666)) {
		perror(name.sun_path);
		return 1;
	}
	puts("listening");
	fflush(stdout);
	while ((n = recv(fd, text, sizeof(text) - 1, 0)) >= 0) {
		text[n] = 0;
		puts(text);
		fflush(stdout);
	}
	perror("recv");
	return 1;
}
