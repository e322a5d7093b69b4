// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writes to a file of a task that is reaped while the kernel reads what is
 * written, and whose parent is reaped and freed then, too:
 *
 *	reaped FILE TEXT
 *
 * FILE is the name of a file in /proc/PID. The text is on a page that is not
 * there, so the kernel waits for it with the task in its hands (userfaultfd(2),
 * with UFFD_USER_MODE_ONLY off: needs CAP_SYS_PTRACE). Prints the name of the
 * errno of the write, 0 for none; the exit status is 0 if it could be tried.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tasks.h"

#define LIMIT_MS	60000
/* The second ends after what was to be done at the end of the first. */
#define GRACE_PERIODS	3

struct job {
	int fd;
	const char *page;
	size_t len;
	int err;
};

static void *write_page(void *arg)
{
	struct job *job = arg;

	job->err = write(job->fd, job->page, job->len) < 0 ? errno : 0;
	return NULL;
}

/* Has a child when it begins, and reaps it when it is told to. */
static _Noreturn void be_parent(int tell, int told)
{
	pid_t pid = child();
	char go;

	if (write(tell, &pid, sizeof(pid)) != sizeof(pid) ||
	    read(told, &go, 1) != 1)
		_exit(FAILED);
	end(pid);
	_exit(0);
}

static int watch(char *page, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register all = {
		.range = { .start = (unsigned long)page, .len = size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		stop("userfaultfd");
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &all))
		stop("registering with userfaultfd");
	return fd;
}

int main(int argc, char **argv)
{
	size_t size = sysconf(_SC_PAGESIZE);
	char *page, *full, path[64];
	struct uffdio_copy copy;
	int to[2], from[2], status, uffd, i;
	struct uffd_msg asked;
	struct job job;
	struct pollfd p;
	pid_t parent, pid;
	pthread_t writer;

	if (argc != 3 || strlen(argv[2]) >= size) {
		fputs("usage: reaped FILE TEXT\n", stderr);
		return FAILED;
	}
	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		stop("pipe2");
	parent = start();
	if (!parent)
		be_parent(from[1], to[0]);
	if (read(from[0], &pid, sizeof(pid)) != sizeof(pid))
		stop("the child's pid");
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, argv[1]);
	job.fd = open(path, O_WRONLY | O_CLOEXEC);
	if (job.fd < 0)
		stop(path);

	page = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	full = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || full == MAP_FAILED)
		stop("mmap");
	strcpy(full, argv[2]);
	uffd = watch(page, size);
	job.page = page;
	job.len = strlen(argv[2]);
	errno = pthread_create(&writer, NULL, write_page, &job);
	if (errno)
		stop("pthread_create");

	/* The kernel waits for the page. */
	p = (struct pollfd){ .fd = uffd, .events = POLLIN };
	if (poll(&p, 1, LIMIT_MS) != 1 ||
	    read(uffd, &asked, sizeof(asked)) != sizeof(asked) ||
	    asked.event != UFFD_EVENT_PAGEFAULT)
		stop("waiting for the writer");
	if (write(to[1], "", 1) != 1 ||
	    waitpid(parent, &status, 0) != parent || status)
		stop("reaping");
	/* A task is freed a grace period after it was reaped. */
	for (i = 0; i < GRACE_PERIODS; i++)
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
			stop("membarrier");
	copy = (struct uffdio_copy){
		.dst = (unsigned long)page,
		.src = (unsigned long)full,
		.len = size,
	};
	if (ioctl(uffd, UFFDIO_COPY, &copy))
		stop("giving the page");
	errno = pthread_join(writer, NULL);
	if (errno)
		stop("pthread_join");
	puts(job.err ? strerrorname_np(job.err) : "0");
	return 0;
}
