/* optimizer_step.h: a step of an optimiser in parts, for a training program whose threads update their
 * parts, or which updates a large weight while its gradient is produced; once for each type. All parts
 * of a step together are Optimizer_update. */

/* next [OUT]: the optimiser with the running scalars of the step; to be taken over at its end.
 * factor [OUT] [1]: of all gradients, which with clip_norm must be there. */
int NNL_(optimizer_begin)(int64_t count, const nnl_segment *segments,
                          const nnl_optimizer *optimizer, nnl_optimizer *next, double *factor,
                          int threads);

/* Elements [begin, begin + count) of a segment, whose gradients are grad [count]. */
void NNL_(optimizer_part)(const nnl_segment *s, int64_t begin, int64_t count, const real *grad,
                          const nnl_optimizer *next, double factor, int threads);

/* The end of the step: what runs on from step to step is taken over. */
void NNL_(optimizer_end)(int64_t count, nnl_segment *segments, nnl_optimizer *optimizer,
                         const nnl_optimizer *next);
