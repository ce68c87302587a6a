/* random.c: random numbers without state: element i of a stream is a pure function of
 * (seed, purpose, step, i), so no result depends on threads or on the order of calls.
 *
 * Philox4x32-10: ten rounds of multiply, exclusive-or and swap over a 128-bit counter; here the
 * counter is (block low, block high, purpose, step) and the key is the seed.
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include "core/random.h"

#include "core/base.h"

#define PHILOX_ROUNDS 10
#define PHILOX_M0 0xD2511F53u /* multipliers, section 3 of the paper */
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u /* key increments: golden ratio, sqrt(3) - 1 */
#define PHILOX_W1 0xBB67AE85u

void nnl_philox(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t block, uint32_t *words) {
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32), c2 = purpose, c3 = step;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0, p1 = (uint64_t)PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

/* The same rounds on several blocks at once. Each word sits in a lane of 64 bits whose upper half
 * may hold anything: only the lower halves are multiplied, and the compiler makes vectors of
 * that. */
void nnl_philox_words(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t block,
                      uint32_t *words) {
    enum { BLOCKS = NNL_PHILOX_WORDS / 4 };
    uint64_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS];
    for (uint64_t i = 0; i < BLOCKS; i++) {
        c0[i] = block + i;
        c1[i] = (block + i) >> 32;
        c2[i] = purpose;
        c3[i] = step;
    }
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            uint64_t p0 = (uint64_t)PHILOX_M0 * (uint32_t)c0[i];
            uint64_t p1 = (uint64_t)PHILOX_M1 * (uint32_t)c2[i];
            c0[i] = (p1 >> 32) ^ c1[i] ^ k0;
            c1[i] = p1;
            c2[i] = (p0 >> 32) ^ c3[i] ^ k1;
            c3[i] = p0;
        }
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    for (int i = 0; i < BLOCKS; i++) {
        words[4 * i] = (uint32_t)c0[i];
        words[4 * i + 1] = (uint32_t)c1[i];
        words[4 * i + 2] = (uint32_t)c2[i];
        words[4 * i + 3] = (uint32_t)c3[i];
    }
}

NNL_API int nnl_random_bits(int64_t n, uint32_t *out, uint64_t seed, uint32_t purpose,
                            uint32_t step) {
    if (!nnl_size_ok(n, 1, sizeof *out)) return NNL_EINVAL;
    for (int64_t i = 0; i < n; i += 4) {
        uint32_t words[4];
        nnl_philox(seed, purpose, step, (uint64_t)i / 4, words);
        for (int64_t j = 0; j < nnl_min(4, n - i); j++) out[i + j] = words[j];
    }
    return NNL_OK;
}

/* floor(bits * bound / 2^64): an index in [0, bound), with a bias below bound / 2^64. */
static uint64_t scale_to(uint64_t bits, uint64_t bound) {
    uint64_t bits_low = bits & 0xFFFFFFFFu, bits_high = bits >> 32;
    uint64_t low = bound & 0xFFFFFFFFu, high = bound >> 32;
    uint64_t carry = ((bits_low * low) >> 32) + ((bits_high * low) & 0xFFFFFFFFu) + bits_low * high;
    return bits_high * high + ((bits_high * low) >> 32) + (carry >> 32);
}

/* Element i of an order, which is of 4 or 8 bytes. */
static uint64_t get(const void *order, int bytes, int64_t i) {
    return bytes == 4 ? ((const uint32_t *)order)[i] : ((const uint64_t *)order)[i];
}

static void set(void *order, int bytes, int64_t i, uint64_t value) {
    if (bytes == 4) {
        ((uint32_t *)order)[i] = (uint32_t)value;
    } else {
        ((uint64_t *)order)[i] = value;
    }
}

NNL_API int nnl_random_permutation(int64_t n, void *out, int out_bytes, uint64_t seed,
                                   uint32_t purpose, uint32_t step) {
    if (!nnl_size_ok(n, 1, 8) || (out_bytes != 4 && out_bytes != 8) ||
        (out_bytes == 4 && n > (int64_t)1 << 32)) {
        return NNL_EINVAL;
    }
    for (int64_t i = 0; i < n; i++) set(out, out_bytes, i, (uint64_t)i);
    uint32_t words[4] = {0, 0, 0, 0};
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t draw = n - 1 - i; /* two draws of 64 bits in each block */
        if (draw % 2 == 0) nnl_philox(seed, purpose, step, (uint64_t)draw / 2, words);
        int half = draw % 2 == 0 ? 0 : 2;
        uint64_t bits = ((uint64_t)words[half + 1] << 32) | words[half];
        int64_t j = (int64_t)scale_to(bits, (uint64_t)i + 1);
        uint64_t swapped = get(out, out_bytes, i);
        set(out, out_bytes, i, get(out, out_bytes, j));
        set(out, out_bytes, j, swapped);
    }
    return NNL_OK;
}
