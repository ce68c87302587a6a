/* weights.h: the weights of classes and of samples, for the criteria. Included by a criterion's file
 * in each type pass, after rows.h.
 *
 * A row weighs class_weight[its class] * sample_weight[row], each 1 where there is none; an ignored
 * row weighs 0. A mean divides by the total weight, so weights of 1 give the bits of no weights. A row
 * of weight 0 counts for nothing, whatever it holds: it is left out, not multiplied by 0. */

/* True when each of n weights is finite and not negative; also for NULL. */
static inline bool T_(weights_ok)(int64_t n, const real *weight) {
    bool ok = true;
    for (int64_t i = 0; weight && i < n; i++) ok &= weight[i] >= 0 && weight[i] < (real)INFINITY;
    return ok;
}

/* weights [N] [OUT]; target NULL for rows without a class. */
static inline void T_(row_weights)(int64_t N, const int64_t *target, const real *class_weight,
                                   const real *sample_weight, int64_t ignore_index, real *weights) {
    for (int64_t i = 0; i < N; i++) {
        real weight = sample_weight ? sample_weight[i] : 1;
        if (target) {
            bool ignored = target[i] == ignore_index;
            weight *= ignored ? 0 : class_weight ? class_weight[target[i]] : 1;
        }
        weights[i] = weight;
    }
}
