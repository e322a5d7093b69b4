// SPDX-License-Identifier: GPL-2.0-only
/*
 * Compiled as a file of the kernel's: the size of its symbol says how long the
 * members of struct task_struct are. With the padding that follows it is aligned
 * to 64 bytes, so that a pointer more makes it grow by 64, or not at all.
 *
 * The macro stands behind the last member; behind it there may only be struct
 * thread_struct, which is the processor's (include/linux/sched.h).
 */
#undef randomized_struct_fields_end
#define randomized_struct_fields_end char end_of_members[0];
#include <linux/sched.h>

char task_members[offsetof(struct task_struct, end_of_members)];
