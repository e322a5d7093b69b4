// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into vsftpd: gives a clone that asks for an IPC namespace a PID
 * namespace too.
 *
 * With isolate=YES, as released, vsftpd asks for both in one clone; Debian's
 * build asks for the first alone. vsftpd calls syscall(3) for it, since no
 * function of the C library makes such a clone, and that is what stands here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/syscall.h>

long syscall(long number, ...)
{
	long arg[6], answer;
	va_list list;
	int i;

	va_start(list, number);
	for (i = 0; i < 6; i++)
		arg[i] = va_arg(list, long);
	va_end(list);

	if (number == SYS_clone && (arg[0] & CLONE_NEWIPC))
		arg[0] |= CLONE_NEWPID;

	register long r10 asm("r10") = arg[3];
	register long r8 asm("r8") = arg[4];
	register long r9 asm("r9") = arg[5];

	asm volatile("syscall"
		     : "=a"(answer)
		     : "a"(number), "D"(arg[0]), "S"(arg[1]), "d"(arg[2]),
		       "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	if (answer < 0) {
		errno = (int)-answer;
		return -1;
	}
	return answer;
}
