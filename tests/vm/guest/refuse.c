/* LD_PRELOAD: while /tmp/refuse is there, VIDIOC_STREAMON answers ENOSPC, as a USB bus without bandwidth does. No driver in
 * Debian's kernel can be made to say it. The crate v4l calls ioctl through syscall(2). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  va_list l;
  va_start(l, number);
  long a = va_arg(l, long), b = va_arg(l, long), c = va_arg(l, long), d = va_arg(l, long), e = va_arg(l, long), f = va_arg(l, long);
  va_end(l);
  if (number == SYS_ioctl && (unsigned int)b == 0x40045612 && access("/tmp/refuse", F_OK) == 0) {
    errno = ENOSPC;
    return -1;
  }
  return real(number, a, b, c, d, e, f);
}
