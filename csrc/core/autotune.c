/* autotune.c: a table of choices, without locks: each field is one atomic word, and what two
 * threads do at once to a choice costs at most a trial. */
#include "core/autotune.h"

#include <stdatomic.h>
#include <string.h>

#include "core/base.h"
#include "core/small_code.h"

#define ENTRIES 512 /* a power of two */
#define PROBES 16   /* slots of the table where a choice may lie */
#define TRIALS 3    /* of each way */

/* A way is taken instead of the rule's when it saves 3 %, more than trials differ by chance, and
 * not tried again when it takes 25 % longer than the quickest. */
#define GAIN 0.97
#define HOPELESS 1.25

/* Nanoseconds that trials may lose: so many at first, and a fraction of the time of computations
 * with a choice to make. Before a way is tried a third of the rule's time must be left. */
#define ALLOWANCE 4000000
#define REFILL (1.0 / 64)
#define AT_RISK 0.33

/* What a second thread is worth changes with what other programs do: where trials overruled the
 * rule in such a choice it is tried again after so many uses. */
#define RETRY 4096

#define CHOICE_BITS 4
#define SIZE_BITS 6
#define THREAD_BITS 5
#define FLAG_BITS 8

typedef struct {
    _Atomic(uint64_t) key;                 /* 0: free */
    _Atomic(uint32_t) begun, done;         /* trials */
    _Atomic(uint32_t) decision;            /* 0: none yet; 1: the rule's; 2 + way */
    _Atomic(uint32_t) cost[NNL_TUNE_WAYS]; /* bits of a float above 0, seconds by work; 0: none */
    _Atomic(uint32_t) ways, used;          /* used: since the decision */
} entry;

static entry entries[ENTRIES];
static _Atomic(int64_t) allowance = ALLOWANCE;
static _Atomic(int) batch_trials; /* of whole batches, within which nothing else is tried */
static _Atomic(int) off;
static _Atomic(int) forced[NNL_CHOICES]; /* way + 1; 0: not forced */

/* Not 0 where a way is forced, which small computations take too. */
volatile int nnl_any_forced;

NNL_API void nnl_set_autotune(int on) { atomic_store(&off, !on); }

NNL_API int nnl_force_choice(int choice, int way) {
    if (choice < 0 || choice >= NNL_CHOICES || way < -1 || way >= NNL_TUNE_WAYS) return NNL_EINVAL;
    atomic_store(&forced[choice], way + 1);
    int any = 0;
    for (int i = 0; i < NNL_CHOICES; i++) any |= atomic_load(&forced[i]);
    nnl_any_forced = any;
    return NNL_OK;
}

static uint64_t log2_of(int64_t size) {
    return size > 0 ? (uint64_t)(63 - __builtin_clzll((uint64_t)size)) : 0;
}

uint64_t nnl_tune_shape(int64_t m, int64_t n, int64_t k, unsigned flags, int threads) {
    uint64_t shape = 1; /* never 0 */
    shape = shape << FLAG_BITS | (flags & ((1u << FLAG_BITS) - 1));
    shape = shape << THREAD_BITS | (uint64_t)nnl_min(threads, (1 << THREAD_BITS) - 1);
    shape = shape << SIZE_BITS | log2_of(m);
    shape = shape << SIZE_BITS | log2_of(n);
    return shape << SIZE_BITS | log2_of(k);
}

/* The entry of a key, made where there is none; NULL where the table is full. */
static entry *entry_of(uint64_t key) {
    uint64_t slot = key * UINT64_C(0x9E3779B97F4A7C15) >> 32;
    for (uint64_t i = 0; i < PROBES; i++) {
        entry *e = &entries[(slot + i) % ENTRIES];
        uint64_t seen = atomic_load(&e->key);
        if (seen == 0 && atomic_compare_exchange_strong(&e->key, &seen, key)) return e;
        if (seen == key) return e; /* also where another thread was quicker */
    }
    return NULL;
}

/* The quickest trial of a way so far in seconds by work, or 0. */
static float cost_of(entry *e, int way) {
    uint32_t bits = atomic_load(&e->cost[way]);
    float cost;
    memcpy(&cost, &bits, sizeof cost);
    return cost;
}

/* Floats above 0 are ordered as their bits are. */
static void note_cost(entry *e, int way, float cost) {
    uint32_t bits, seen = atomic_load(&e->cost[way]);
    memcpy(&bits, &cost, sizeof bits);
    while ((seen == 0 || bits < seen) &&
           !atomic_compare_exchange_weak(&e->cost[way], &seen, bits)) {
        continue;
    }
}

static int quickest(entry *e) {
    int best = -1;
    for (int way = 0; way < NNL_TUNE_WAYS; way++) {
        float cost = cost_of(e, way);
        if (cost > 0 && (best < 0 || cost < cost_of(e, best))) best = way;
    }
    return best;
}

/* One more trial is over, or skipped; the last one decides. */
static void finish_trial(entry *e, int ways, int rule) {
    if (atomic_fetch_add(&e->done, 1) + 1 != (uint32_t)(TRIALS * ways)) return;
    int best = quickest(e);
    bool saves = best >= 0 && best != rule && cost_of(e, best) < GAIN * (double)cost_of(e, rule);
    atomic_store(&e->decision, saves ? 2 + (uint32_t)best : 1);
}

/* The way of the next trial, or -1 where all have begun or no loss is allowed. */
static int next_trial(entry *e, int ways, int rule, double work) {
    const uint32_t trials = (uint32_t)(TRIALS * ways);
    while (atomic_load(&e->begun) < trials) {
        float known = cost_of(e, rule);
        bool first = atomic_load(&e->begun) == 0;
        bool may_lose = (double)atomic_load(&allowance) > 1e9 * AT_RISK * (double)known * work;
        if (!first && (known == 0 || !may_lose)) return -1;
        uint32_t index = atomic_fetch_add(&e->begun, 1);
        if (index >= trials) return -1;
        int way = (rule + (int)(index % (uint32_t)ways)) % ways, best = quickest(e);
        bool hopeful = best < 0 || cost_of(e, way) <= HOPELESS * (double)cost_of(e, best);
        if (hopeful || way == rule) return way; /* the rule's first trial began with cold caches */
        finish_trial(e, ways, rule);
    }
    return -1;
}

/* True when a choice is to be made anew. */
static bool is_stale(entry *e, enum nnl_choice choice) {
    if (choice != NNL_CHOICE_THREADS && choice != NNL_CHOICE_BATCH_PARALLEL) return false;
    if (atomic_fetch_add(&e->used, 1) + 1 != RETRY) return false;
    for (int way = 0; way < NNL_TUNE_WAYS; way++) atomic_store(&e->cost[way], 0);
    atomic_store(&e->used, 0);
    atomic_store(&e->done, 0);
    atomic_store(&e->begun, 0);
    atomic_store(&e->decision, 0);
    return true;
}

int nnl_find_way(nnl_tuning *t, enum nnl_choice choice, int ways, int rule, bool worth) {
    int forced_way_plus_1 = atomic_load_explicit(&forced[choice], memory_order_relaxed);
    if (forced_way_plus_1 > 0) return forced_way_plus_1 <= ways ? forced_way_plus_1 - 1 : rule;
    if (!t->shape || !worth || atomic_load_explicit(&off, memory_order_relaxed)) return rule;
    entry *e = entry_of(t->shape << CHOICE_BITS | (uint64_t)choice);
    if (!e) return rule;
    uint32_t decision = atomic_load(&e->decision);
    if (decision == 1) return rule;
    if (decision > 1 && !is_stale(e, choice)) return (int)decision - 2;
    if (t->trial || atomic_load(&batch_trials) > 0) return rule;
    int way = next_trial(e, ways, rule, t->work);
    t->trial = e;
    t->way = way;
    t->rule = rule;
    t->whole_batch = choice == NNL_CHOICE_BATCH_PARALLEL;
    atomic_store(&e->ways, (uint32_t)ways);
    if (t->whole_batch) atomic_fetch_add(&batch_trials, 1);
    t->start = nnl_seconds();
    return way < 0 ? rule : way;
}

void nnl_tune_end(nnl_tuning *t, bool complete) {
    entry *e = t->trial;
    if (!e) return;
    double seconds = nnl_seconds() - t->start;
    if (t->whole_batch) atomic_fetch_sub(&batch_trials, 1);
    double lost = -REFILL * seconds;
    if (t->way >= 0) {
        if (complete && seconds > 0) {
            note_cost(e, t->way, (float)(seconds / t->work));
            if (t->way != t->rule) lost += seconds - t->work * (double)cost_of(e, quickest(e));
        }
        finish_trial(e, (int)atomic_load(&e->ways), t->rule);
    }
    atomic_fetch_sub(&allowance, (int64_t)(1e9 * lost));
}

NNL_API int nnl_tuned(int64_t index, nnl_tuned_choice *choice) {
    if (index < 0 || index >= ENTRIES) return NNL_EINDEX;
    entry *e = &entries[index];
    uint64_t key = atomic_load(&e->key), shape = key >> CHOICE_BITS;
    memset(choice, 0, sizeof *choice);
    if (key == 0) return NNL_OK;
    choice->choice = (int32_t)(key & ((1 << CHOICE_BITS) - 1));
    choice->decision = (int32_t)atomic_load(&e->decision);
    choice->ways = (int32_t)atomic_load(&e->ways);
    for (int i = 2; i >= 0; i--, shape >>= SIZE_BITS) {
        choice->log2_size[i] = (int32_t)(shape & ((1 << SIZE_BITS) - 1));
    }
    choice->threads = (int32_t)(shape & ((1 << THREAD_BITS) - 1));
    choice->flags = (int32_t)(shape >> THREAD_BITS & ((1 << FLAG_BITS) - 1));
    for (int way = 0; way < NNL_TUNE_WAYS; way++) choice->cost[way] = (double)cost_of(e, way);
    return NNL_OK;
}
