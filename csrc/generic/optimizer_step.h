/* optimizer_step.h: a step of an optimiser in parts, for a training program that updates a large
 * weight while its gradient is produced; once for each type. All parts of a step together are
 * Optimizer_update without clipping by the global norm, which needs every gradient first. */

/* next [OUT]: the optimiser with the running scalars of the step; to be taken over at its end. */
int NNL_(optimizer_begin)(int64_t count, const nnl_segment *segments,
                          const nnl_optimizer *optimizer, nnl_optimizer *next);

/* Elements [begin, begin + count) of a segment, whose gradients are grad [count]. */
void NNL_(optimizer_part)(const nnl_segment *s, int64_t begin, int64_t count, const real *grad,
                          const nnl_optimizer *next, double factor, int threads);
