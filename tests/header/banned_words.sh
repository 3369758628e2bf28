#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Words that have one home in lib/, or none: libc, errno, memory orders, builtins, forged proofs.
set -eu
. "$TDP_SOURCE_DIR/tests/support/rule.sh"

# words REGEX [HOME]: lines of $scratch/code ("FILE: TEXT") with a match, but for files that match HOME.
words()
{
	grep -E "^[^:]*:.*($1)" "$scratch/code" | grep -vE "^(${2:-no home}): " || :
}

rule()
{
	(cd "$1" && code $(find lib -name '*.[ch]' | sort)) >"$scratch/code"
	start='(^|[^a-zA-Z0-9_])'
	words "$start(malloc|calloc|realloc|free|printf|abort|assert|exit)[[:space:]]*\\("
	words "${start}errno([^a-zA-Z0-9_]|\$)"
	words 'memory_order_|__atomic_|__ATOMIC_|__sync_|_Atomic' 'lib/base/atomic\.h'
	words '__builtin_' 'lib/base/(bits|assert)\.h'
	words "$start(asm|__asm__)([^a-zA-Z0-9_]|\$)"
	# What a thread holds, in debug builds; nothing else belongs to a thread.
	words "$start(thread_local|_Thread_local)([^a-zA-Z0-9_]|\$)" 'lib/mm/lockcheck\.c'
	# The lock checker sees what goes through these files: locks, sections, what of the host may sleep.
	words 'tdpi_lock_(cas|xchg|clear)' 'lib/(base/atomic|mm/lock)\.h'
	words '(->|\.)read_(un)?lock[[:space:]]*\(' 'lib/mm/mm\.h'
	words '(->|\.)(obj_alloc|chunk_alloc|chunk_alloc_on|yield|synchronize|barrier|resolve|release)[[:space:]]*\(' \
		'lib/mm/host\.h'
	# Only gather.c proves a flush, only the lock's own files prove a lock.
	words 'struct tdpi_flushed[[:space:]]*\)[[:space:]]*\{' 'lib/mm/gather\.c'
	words 'struct tdpi_locked[[:space:]]*\)[[:space:]]*\{' 'lib/mm/(table\.h|lock\.[ch])'
}

holds
catches lib/mm/mm.h 'int e = errno;'
catches lib/mm/mm.h 'void *p = malloc(3);'
catches lib/mm/mm.h '#define X __atomic_load_n'
catches lib/engine/set.h 'atomic_load_explicit(p, memory_order_relaxed);'
catches lib/engine/set.h '_Atomic int x;'
catches lib/mm/lock.c 'static int f(void) { return __builtin_ctz(3); }'
catches lib/mm/mm.h '/* a */ static struct tdpi_flushed f(void) { return (struct tdpi_flushed){ 1 }; }'
catches lib/engine/zap.h 'l = (struct tdpi_locked) { t };'
catches lib/base/bits.h '__asm__ volatile("");'
catches lib/mm/lock.c 'static _Thread_local int a;'
catches lib/mm/gather.c 'x = tdpi_lock_cas(&t->busy, &expected);'
catches lib/mm/look.c 'mm->rcu.read_unlock();'
catches lib/mm/slot.c 'p = mm->env.obj_alloc(mm->env.priv, 8);'
catches lib/mm/pool.c 'p = mm->env.chunk_alloc_on(mm->env.priv, 8, 0);'
catches lib/engine/iter.h 'env->yield(env->priv);'
catches lib/mm/fault.c 'ret = slot->ops.resolve (slot->backing_arg);'
# What is written in a comment or a string is not code.
mkdir -p "$scratch/words/lib"
printf '%s\n' '/* errno malloc(3) __atomic_x' ' * memory_order_relaxed */ int a; // errno' \
	'const char *s = "errno \" malloc(";' >"$scratch/words/lib/a.c"
[ -z "$(rule "$scratch/words")" ] || { echo "the rule reads comments"; failed=1; }
done_with_rule
