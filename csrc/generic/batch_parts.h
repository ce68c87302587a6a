/* batch_parts.h: layers on some rows of a batch, for a training program whose threads take rows; once
 * for each type. All parts together give the bits of the layer's own kernel on the whole batch. */

/* CrossEntropyCriterion_updateOutput against classes in [0, K), without weights: losses [OUT] [n];
 * sums [BUFFER] [n]; gradInput [OUT] [n, K] from input [n, K]. The whole loss is the sum of `losses`
 * over the batch, divided by `total`. */
void NNL_(cross_entropy_part)(int64_t n, int64_t K, const real *input, const int64_t *target,
                              real total, real *losses, real *sums, real *gradInput);

/* Dropout_updateOutput, and _updateGradInput, from element `first` of the batch on, a multiple of
 * NNL_DROPOUT_UNIT. */
#define NNL_DROPOUT_UNIT 4
int NNL_(dropout_part)(int64_t first, int64_t n, const real *input, real *output, double rate,
                       uint64_t seed, uint32_t purpose, uint32_t step, bool gradient, int threads);
