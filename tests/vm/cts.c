/* LD_PRELOAD for QEMU: its UART asks the host's serial port for the modem lines (TIOCMGET), which a pseudo-terminal does not have. Here it
 * has: all are high, and CTS is low while the file that LOOKOUT_CTS_LOW names is there. QEMU asks a hundred times a second. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

int ioctl(int fd, unsigned long request, ...) {
  static int (*real)(int, unsigned long, ...);
  if (!real) real = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
  va_list l;
  va_start(l, request);
  void *argument = va_arg(l, void *);
  va_end(l);
  const char *low = getenv("LOOKOUT_CTS_LOW");
  if (request == TIOCMGET && low && isatty(fd)) {
    *(int *)argument = TIOCM_DSR | TIOCM_CAR | (access(low, F_OK) == 0 ? 0 : TIOCM_CTS);
    return 0;
  }
  return real(fd, request, argument);
}
