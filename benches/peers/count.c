// Instructions between two looks at the processor clock, for qemu-user (a TCG plugin, API of QEMU 6 to 8).
//
// Every timing loop of this folder, lookout's own `bench` included, reads CLOCK_PROCESS_CPUTIME_ID before and after an inference.
// Under qemu-user that is a system call, which this plugin sees: it prints how many guest instructions ran since the last one.
// So the same commands that are timed on real hardware are counted here, unchanged. One thread; nothing else is measured:
// an instruction is no time, a multiply-accumulate of 16 bytes counts like a move. At the end `total` says how many there were in all: what three more
// rounds of something cost.
//
//   cc -O2 -shared -fPIC -o count.so count.c;  qemu-aarch64 -plugin ./count.so PROGRAM

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// What is used of qemu-plugin.h, which Debian does not ship.
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
typedef struct qemu_info_t qemu_info_t;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
int qemu_plugin_version = 1;
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
typedef void (*syscall_cb)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, syscall_cb);

enum { CLOCK_GETTIME = 113, PROCESS_CPUTIME = 2 };
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
static uint64_t executed, last;

static void translated(plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &executed, qemu_plugin_tb_n_insns(block));
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t clock, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                   uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number != CLOCK_GETTIME || clock != PROCESS_CPUTIME) return;
    if (last) fprintf(stderr, "instructions %" PRIu64 "\n", executed - last);
    last = executed;
}

static void ended(plugin_id id, void *nothing) {
    (void)id, (void)nothing;
    fprintf(stderr, "total %" PRIu64 "\n", executed);
}

int qemu_plugin_install(plugin_id id, const qemu_info_t *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
