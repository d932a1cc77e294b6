/*
 * The baseline of the case `fault`: what a page fault costs when a handler in C serves it. A thread touches pages that a file in
 * memory does not have; another one waits in epoll for the userfaultfd, gives the page to the file and maps it. Both run on one
 * core, which is given as the argument. Every line on stdin with a number of pages (a power of two) is one round; the answer is
 * the time of a touch in nanoseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define PAGE 4096UL
#define PAGES_MAX (1UL << 18)
#define ORDER 0x9e3779b1UL /* odd, so i * ORDER mod 2^n visits every page once, and no two neighbours in a row */

static int uffd, file;
static char *user;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) fail("sched_setaffinity");
}

static void serve(uint64_t addr)
{
	uint64_t offset = addr - (uint64_t)user;
	struct uffdio_continue map = { .range = { .start = addr, .len = PAGE } };
	if (fallocate(file, 0, offset, PAGE)) fail("fallocate");
	if (ioctl(uffd, UFFDIO_CONTINUE, &map)) fail("UFFDIO_CONTINUE");
}

static void *handle(void *arg)
{
	struct epoll_event ready, wanted = { .events = EPOLLIN };
	struct uffd_msg messages[128];
	int epoll = epoll_create1(0);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, uffd, &wanted)) fail("epoll");
	pin((int)(intptr_t)arg);
	for (;;) {
		if (epoll_wait(epoll, &ready, 1, -1) < 1) continue;
		ssize_t n = read(uffd, messages, sizeof(messages));
		for (ssize_t i = 0; i < n / (ssize_t)sizeof(messages[0]); i++)
			serve(messages[i].arg.pagefault.address & ~(PAGE - 1));
	}
	return NULL;
}

static void open_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int flags = O_CLOEXEC | O_NONBLOCK;
	uffd = syscall(SYS_userfaultfd, flags);
	if (uffd < 0) uffd = syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api)) fail("userfaultfd");
}

int main(int argc, char **argv)
{
	int cpu = argc > 1 ? atoi(argv[1]) : 0;
	size_t size = PAGES_MAX * PAGE;
	pthread_t handler;
	unsigned long npages;

	pin(cpu);
	open_userfaultfd();
	file = memfd_create("fault-handler", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, size)) fail("memfd_create");
	user = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
	if (user == MAP_FAILED) fail("mmap");
	struct uffdio_register reg = {
		.range = { .start = (uint64_t)user, .len = size },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
	};
	if (ioctl(uffd, UFFDIO_REGISTER, &reg)) fail("UFFDIO_REGISTER");
	if (pthread_create(&handler, NULL, handle, (void *)(intptr_t)cpu)) fail("pthread_create");

	while (scanf("%lu", &npages) == 1) {
		struct timespec begin, end;
		volatile char sum = 0;
		if (npages == 0 || npages > PAGES_MAX || (npages & (npages - 1))) return 1;
		clock_gettime(CLOCK_MONOTONIC, &begin);
		for (unsigned long i = 0; i < npages; i++) sum += user[((i * ORDER) & (npages - 1)) * PAGE];
		clock_gettime(CLOCK_MONOTONIC, &end);
		printf("%.1f\n", ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / npages);
		fflush(stdout);
		if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, npages * PAGE)) fail("PUNCH_HOLE");
	}
	return 0;
}
