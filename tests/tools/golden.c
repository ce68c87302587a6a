/* golden.c: runs every kernel of csrc/nnlite.h in both types on fixed inputs and prints one line for
 * each group of cases: a name and a 64-bit hash of all output bytes. Every build, by any compiler
 * for any processor, must print the same lines; tests/golden/bits.txt holds them. bits.py compiles,
 * runs and compares:
 *     python3 tests/tools/bits.py
 *
 * Every group runs with one, two and three threads, which must not differ. NaNs are hashed as one
 * value. Outputs hold NaN before the call and lie between guards that must survive; inputs end where
 * their memory ends, for the address sanitizer and valgrind.
 *
 *     golden                 every group
 *     golden gemm            groups whose name contains the word
 *     golden --supports ISA  exit status 0 when this processor runs such a build
 *
 * Without a line, for they tell builds apart: nnl_build_isa nnl_build_compiler nnl_was_called
 * nnl_get_threading nnl_set_threading. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base.h"
#include "core/grain.h"
#include "core/openmp.h"
#include "ops.h"
#include "vec/vec.h"

#define SEED 20240229
#define MOST_THREADS 3

static bool failed = false;

static void fail(const char *what) {
    printf("FAILED: %s\n", what);
    failed = true;
}

/* Stops at the first call that must succeed and does not. */
static void must(int status) {
    if (status != NNL_OK) fail(nnl_status_text(status));
}

/* ---- hashes: FNV-1a of 64 bits ---- */

#define HASH_START 0xcbf29ce484222325u

static uint64_t hash_bytes(uint64_t h, const void *data, size_t bytes) {
    const unsigned char *byte = data;
    for (size_t i = 0; i < bytes; i++) h = (h ^ byte[i]) * 0x100000001b3u;
    return h;
}

static uint64_t hash_int(uint64_t h, int64_t value) { return hash_bytes(h, &value, sizeof value); }

/* ---- memory of one group, freed by `release` ---- */

#define GUARD 64 /* bytes on each side of an output */
#define MOST_BLOCKS 8192

typedef struct {
    unsigned char *start;
    size_t bytes; /* between the guards */
    size_t guard;
} block;

static block blocks[MOST_BLOCKS];
static size_t block_count = 0;

/* Memory `offset` bytes behind a boundary of 16 bytes; guards only where they are asked for. */
static void *take(size_t bytes, size_t offset, bool guarded) {
    size_t guard = guarded ? GUARD + offset : offset, after = guarded ? GUARD : 0;
    unsigned char *start = malloc(guard + bytes + after + 1 - (guarded || bytes + guard > 0));
    if (start == NULL || block_count == MOST_BLOCKS) {
        printf("FAILED: no memory\n");
        exit(1);
    }
    memset(start, 0xA5, guard + bytes + after);
    blocks[block_count++] = (block){start, bytes, guarded ? guard : 0};
    return start + guard;
}

/* Frees everything; a guard that changed is a failure. */
static void release(void) {
    for (size_t b = 0; b < block_count; b++) {
        const block *one = &blocks[b];
        for (size_t i = 0; one->guard > 0 && i < one->guard + GUARD; i++) {
            size_t at = i < one->guard ? i : one->bytes + i;
            if (one->start[at] != 0xA5) {
                fail("a kernel wrote outside its output");
                break;
            }
        }
        free(one->start);
    }
    block_count = 0;
}

/* Integers in [0, limit), from the stream `step`. */
static int64_t *indices(int64_t n, int64_t limit, uint32_t step) {
    int64_t *index = take((size_t)n * sizeof *index, 0, false);
    uint32_t *word = take((size_t)n * sizeof *word, 0, false);
    must(nnl_random_bits(n, word, SEED, 7, step));
    for (int64_t i = 0; i < n; i++) index[i] = (int64_t)(word[i] % (uint64_t)limit);
    return index;
}

/* ---- groups ---- */

/* Runs one group of cases and returns the hash of all its outputs. */
typedef uint64_t group_run(int variant, int threads);

typedef struct {
    const char *name;
    group_run *run;
    int variant;
} group;

/* Around every width of a vector and of sixteen virtual lanes. */
static const int64_t edge_sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100};
#define EDGES ((int)(sizeof edge_sizes / sizeof *edge_sizes))

/* What inputs are made of; see `fill` in golden_pass.h. */
enum kind { PLAIN, SPECIAL, SPARSE, DENORMAL, BITS };

/* What the calls of golden_graph.h name. */
enum place { P_OUT, P_A, P_B, P_C, P_CLASSES, P_WEIGHTS, P_NUMBER, P_ZERO, P_MASK, P_PLACES };

#define NNL_GENERIC_FILE "../tests/tools/golden_pass.h"
#include "core/dtype.h"

static uint64_t run_random_bits(int variant, int threads) {
    uint64_t h = HASH_START;
    (void)variant, (void)threads;
    for (int e = 0; e < EDGES; e++) {
        int64_t n = edge_sizes[e];
        uint32_t *word = take((size_t)n * sizeof *word, 0, true);
        must(nnl_random_bits(n, word, UINT64_MAX - (uint64_t)n, (uint32_t)e, UINT32_MAX));
        h = hash_bytes(h, word, (size_t)n * sizeof *word);
        int64_t *order = take((size_t)n * sizeof *order, 0, true);
        must(nnl_random_permutation(n, order, 8, SEED, (uint32_t)e, 3));
        h = hash_bytes(h, order, (size_t)n * sizeof *order);
    }
    return h;
}

static const group common_groups[] = {
    {"random_bits random_permutation", run_random_bits, 0},
};

/* Runs the groups of a list whose name contains the word, and prints their lines. */
static void run_groups(const group *list, size_t count, const char *type, const char *word) {
    for (size_t g = 0; g < count; g++) {
        if (word && !strstr(list[g].name, word)) continue;
        uint64_t first = 0;
        for (int threads = 1; threads <= MOST_THREADS; threads++) {
            uint64_t h = list[g].run(list[g].variant, threads);
            release();
            if (threads == 1) {
                first = h;
            } else if (h != first) {
                printf("FAILED: %s %s: %d threads give %016llx\n", list[g].name, type, threads,
                       (unsigned long long)h);
                failed = true;
            }
        }
        printf("%s %s %016llx\n", list[g].name, type, (unsigned long long)first);
        fflush(stdout);
    }
}

#define RUN(list, type) run_groups(list, sizeof list / sizeof *list, type, word)

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--supports") == 0) return !nnl_cpu_supports(argv[2]);
    const char *word = argc > 1 ? argv[1] : NULL;
#if defined(_OPENMP)
    must(nnl_set_threading(NNL_THREADING_OPENMP, nnl_openmp_start()));
#endif
    RUN(common_groups, "-");
    RUN(gemm_groups_f32, "f32");
    RUN(layer_groups_f32, "f32");
    RUN(optim_groups_f32, "f32");
    RUN(training_groups_f32, "f32");
    RUN(program_groups_f32, "f32");
    RUN(graph_groups_f32, "f32");
    RUN(gemm_groups_f64, "f64");
    RUN(layer_groups_f64, "f64");
    RUN(optim_groups_f64, "f64");
    RUN(training_groups_f64, "f64");
    RUN(program_groups_f64, "f64");
    RUN(graph_groups_f64, "f64");
    return failed;
}
