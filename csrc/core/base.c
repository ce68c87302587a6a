/* base.c: status texts, build facts, overflow checks and aligned scratch memory. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "core/base.h"
#include "vec/vec.h"

NNL_API const char *nnl_status_text(int status) {
    switch (status) {
        case NNL_OK: return "success";
        case NNL_EINVAL: return "a size is negative or overflows, or an argument is out of range";
        case NNL_ENOMEM: return "not enough memory for scratch space";
        case NNL_EOVERLAP: return "an output overlaps an argument";
        case NNL_EWEIGHT: return "a weight is negative or not finite";
        case NNL_EINDEX: return "an index is out of range";
        case NNL_EFINITE: return "the loss is not finite";
        case NNL_EINTR: return "interrupted";
        default: return "unknown status";
    }
}

NNL_API const char *nnl_build_isa(void) { return NNL_ISA_NAME; }

NNL_API const char *nnl_build_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown compiler";
#endif
}

NNL_API int nnl_cpu_supports(const char *isa) {
    if (strcmp(isa, "portable") == 0) return 1;
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(isa, "avx2") == 0) return avx2;
    if (strcmp(isa, "avx512") == 0) {
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
#elif defined(__aarch64__)
    if (strcmp(isa, "neon") == 0) return 1;
#endif
    return 0;
}

bool nnl_size_ok(int64_t a, int64_t b, int64_t unit) {
    const uint64_t small = 1 << 28; /* three such sizes fit, and need no division */
    if ((uint64_t)a < small && (uint64_t)b < small && (uint64_t)unit - 1 < 64) return true;
    if (a < 0 || b < 0 || unit < 1) return false;
    if (a == 0 || b == 0) return true;
    return a <= INT64_MAX / b && a * b <= INT64_MAX / unit;
}

double nnl_seconds(void) {
    struct timespec t;
#if defined(__unix__) || defined(__APPLE__)
    clock_gettime(CLOCK_MONOTONIC, &t);
#else
    timespec_get(&t, TIME_UTC);
#endif
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void *nnl_alloc(int64_t count, int64_t unit) {
    if (!nnl_size_ok(count, 1, unit)) return NULL;
    uint64_t bytes = (uint64_t)(count * unit);
    if (bytes > SIZE_MAX - NNL_ALIGNMENT) return NULL;
    size_t rounded = ((size_t)bytes + NNL_ALIGNMENT - 1) / NNL_ALIGNMENT * NNL_ALIGNMENT;
    return aligned_alloc(NNL_ALIGNMENT, rounded > 0 ? rounded : NNL_ALIGNMENT);
}

void nnl_free(void *memory) { free(memory); }

/* Written once, when the library is loaded. 1 MiB where the system does not report it, as in some
 * virtual machines; what lies outside the limits is no core's own cache. */
static int64_t l2_bytes = 1 << 20;

#if defined(__GNUC__) && defined(_SC_LEVEL2_CACHE_SIZE)
__attribute__((constructor)) static void read_l2_bytes(void) {
    int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (bytes > 0) l2_bytes = nnl_max(256 << 10, nnl_min(bytes, 4 << 20));
}
#endif

int64_t nnl_l2_bytes(void) { return l2_bytes; }
