// SPDX-License-Identifier: GPL-2.0-only
/*
 * Compiled as a file of the kernel's: the sizes of its two symbols say how long
 * the members of struct task_struct are, and how long it is with the padding
 * that follows. It is aligned to 64 bytes, so that a pointer more makes the
 * latter grow by 64, or not at all.
 *
 * The macro stands behind the last member; behind it there may only be struct
 * thread_struct, which is the processor's (include/linux/sched.h).
 */
#undef randomized_struct_fields_end
#define randomized_struct_fields_end char end_of_members[0];
#include <linux/sched.h>

char task_members[offsetof(struct task_struct, end_of_members)];
char task_size[sizeof(struct task_struct)];
