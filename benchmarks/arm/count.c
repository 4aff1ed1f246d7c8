/* Counts the instructions of an emulated program between marks, as a plugin of qemu-user (plugin interface 1, QEMU 7 to 9).
 *
 * A mark is the system call umask with MARK + number: it takes any value, and nothing else here calls it. Each mark prints
 * "number instructions" to the file named by `out=`, instructions being those of all threads since the program began.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { INTERFACE = 1, INLINE_ADD_U64 = 0, AARCH64_UMASK = 166, MARK = 0x5000, MARKS = 0x1000 };

struct qemu_plugin_tb;
typedef uint64_t plugin_id;
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
                                                                    uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));

__attribute__((visibility("default"))) int qemu_plugin_version = INTERFACE;
static uint64_t instructions;
static FILE *out;

static void translated(plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &instructions, qemu_plugin_tb_n_insns(block));
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t first, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                   uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == AARCH64_UMASK && first >= MARK && first < MARK + MARKS) {
        fprintf(out, "%" PRIu64 " %" PRIu64 "\n", first - MARK, instructions);
        fflush(out);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || (out = fopen(argv[0] + 4, "w")) == NULL) {
        fprintf(stderr, "count: give out=FILE, a file that can be written\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
