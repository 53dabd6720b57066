/* A plugin of QEMU's user-mode emulators: the instructions that a program executes, all its threads together, where the program can read them. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of qemu-plugin.h, the same in every version of it: it is not installed with the emulators. */
typedef uint64_t plugin_id;
struct block;
size_t qemu_plugin_tb_n_insns(const struct block *block);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id id, struct block *block));
void qemu_plugin_register_vcpu_tb_exec_cb(struct block *block, void (*executed)(unsigned cpu, void *data), int flags, void *data);
enum { NO_REGISTERS = 0 };

#define SEEN __attribute__((visibility("default")))
SEEN int qemu_plugin_version = PLUGIN_VERSION;

static uint64_t *count;

static void executed(unsigned cpu, void *instructions) {
    (void)cpu;
    __atomic_fetch_add(count, (uint64_t)(uintptr_t)instructions, __ATOMIC_RELAXED);
}

/* A block is straight code: who enters it executes all of it. */
static void translated(plugin_id id, struct block *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, executed, NO_REGISTERS, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

/* Its argument is `fd=NUMBER`: of the file in memory whose first eight bytes are the count, in the process that is emulated. */
SEEN int qemu_plugin_install(plugin_id id, const void *info, int words, char **word) {
    (void)info;
    if (words != 1 || strncmp(word[0], "fd=", 3) != 0) return 1;
    int wanted = atoi(word[0] + 3), made = memfd_create("instructions", 0);
    if (made < 0 || ftruncate(made, sizeof *count) != 0 || dup2(made, wanted) != wanted) return 1;
    close(made);
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, wanted, 0);
    if (count == MAP_FAILED) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
