/* parallel.c: cuts work into pieces for threads. The only file that knows where threads come from:
 * the pool of pool.c, OpenMP (openmp.c, a library of its own), or nowhere. */
#include "core/parallel.h"

#include <stdatomic.h>

#include "core/base.h"
#include "core/entry.h"
#include "core/openmp.h"
#include "core/pool.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>

/* Set in a child made by fork() after this library was loaded: its parent's threads did not survive
 * the fork. Such a child computes serially, to the same bits. Written once, before the child can
 * start threads. */
static volatile int forked_child = 0;

static void mark_forked_child(void) {
    forked_child = 1;
    nnl_set_main_thread();
}

__attribute__((constructor)) static void guard_fork(void) {
    pthread_atfork(NULL, NULL, mark_forked_child);
}

#else
enum { forked_child = 0 };
#endif

/* Where threads come from, and OpenMP's runner; written before the first region. */
#if defined(NNL_THREADS_POOL)
static int threading = NNL_THREADING_POOL;
#else
static int threading = NNL_THREADING_NONE;
#endif
static nnl_openmp_run *run_openmp;

NNL_API int nnl_get_threading(void) { return threading; }

NNL_API int nnl_set_threading(int kind, uintptr_t openmp) {
    switch (kind) {
#if defined(NNL_THREADS_POOL)
        case NNL_THREADING_POOL: break;
#endif
        case NNL_THREADING_NONE: break;
        case NNL_THREADING_OPENMP:
            if (openmp) break;
            return NNL_EINVAL;
        default: return NNL_EINVAL;
    }
    run_openmp = (nnl_openmp_run *)openmp;
    threading = kind;
    return NNL_OK;
}

static void run(int pieces, nnl_piece *piece, void *context) {
#if defined(NNL_THREADS_POOL)
    if (threading == NNL_THREADING_POOL) {
        nnl_pool_run(pieces, piece, context);
        return;
    }
#endif
    run_openmp(pieces, piece, context, nnl_stopped);
}

/* True where all pieces are one: no other thread is to be had. */
static bool alone(int64_t pieces) {
    return pieces <= 1 || forked_child || threading == NNL_THREADING_NONE;
}

/* Work cut into contiguous ranges of chunks of `grain` items, one range a piece. */
typedef struct {
    int64_t count, grain, chunks, pieces;
    nnl_task *task;
    void *context;
    nnl_entry *call;
} ranges;

/* Chunks that a thread works on before it looks whether the call is to end: some 10 ms. */
#define LOOK_CHUNKS 1024

/* Runs a task on a range, and not to its end where the call is to end. */
static void run_task(nnl_task *task, void *context, int64_t begin, int64_t end, int64_t grain) {
    const int64_t most = LOOK_CHUNKS * nnl_min(grain, INT64_MAX / LOOK_CHUNKS);
    while (end - begin > most) {
        task(context, begin, begin + most);
        if (nnl_stopped()) return;
        begin += most;
    }
    task(context, begin, end);
}

static void run_range(void *context, int64_t piece) {
    const ranges *r = context;
    int64_t begin = r->chunks * piece / r->pieces * r->grain;
    int64_t end = r->chunks * (piece + 1) / r->pieces * r->grain;
    nnl_part part = nnl_begin_part(r->call);
    run_task(r->task, r->context, begin, nnl_min(end, r->count), r->grain);
    nnl_end_part(part);
}

void nnl_parallel_for(int64_t count, int64_t grain, int threads, nnl_task *task, void *context) {
    if (count <= 0) return;
    grain = nnl_max(grain, 1);
    int64_t chunks = nnl_ceil_div(count, grain);
    int64_t pieces = nnl_min(nnl_min(chunks, threads), NNL_POOL_PIECES);
    if (alone(pieces)) {
        run_task(task, context, 0, count, grain);
        return;
    }
    ranges r = {count, grain, chunks, pieces, task, context, nnl_this_entry()};
    run((int)pieces, run_range, &r);
}

/* Items that the pieces take one by one. */
typedef struct {
    int64_t count;
    nnl_task *task;
    void *context;
    nnl_entry *call;
    atomic_int_fast64_t next;
} items;

static void run_items(void *context, int64_t piece) {
    (void)piece;
    items *all = context;
    nnl_part part = nnl_begin_part(all->call);
    int64_t i;
    while ((i = atomic_fetch_add(&all->next, 1)) < all->count) all->task(all->context, i, i + 1);
    nnl_end_part(part);
}

void nnl_parallel_each(int64_t count, int threads, nnl_task *task, void *context) {
    int64_t pieces = nnl_min(nnl_min(count, threads), NNL_POOL_PIECES);
    items all = {count, task, context, nnl_this_entry(), 0};
    if (alone(pieces)) {
        run_items(&all, 0);
    } else {
        run((int)pieces, run_items, &all);
    }
}
