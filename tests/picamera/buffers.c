/* Preloaded: memory in the place of the kernel's DMA buffers, which libcamera and picamera2 ask for by ioctl. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

int ioctl(int fd, unsigned long request, ...)
{
	static int (*next)(int, unsigned long, ...);
	va_list rest;
	va_start(rest, request);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	if (request == DMA_HEAP_IOCTL_ALLOC) {
		struct dma_heap_allocation_data *wanted = argument;
		int memory = memfd_create("dma-buf", MFD_CLOEXEC);
		if (memory < 0 || ftruncate(memory, wanted->len) < 0)
			return -1;
		wanted->fd = memory;
		return 0;
	}
	if (request == DMA_BUF_IOCTL_SYNC || request == DMA_BUF_SET_NAME || request == DMA_BUF_SET_NAME_A)
		return 0;
	if (!next)
		next = dlsym(RTLD_NEXT, "ioctl");
	return next(fd, request, argument);
}
