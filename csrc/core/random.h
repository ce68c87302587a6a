/* random.h: the counter-based generator Philox4x32-10. */
#ifndef NNL_RANDOM_H
#define NNL_RANDOM_H

#include <stdint.h>

/* words [4] = block number `block` of the stream (seed, purpose, step). */
void nnl_philox(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t block, uint32_t *words);

/* Words of one call of nnl_philox_words. */
#define NNL_PHILOX_WORDS 64

/* words [NNL_PHILOX_WORDS] = blocks `block` to `block` + 15 of that stream, side by side. */
void nnl_philox_words(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t block,
                      uint32_t *words);

#endif
