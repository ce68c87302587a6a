/* stopping.h: what a run decides by itself: the penalty of a batch, and whether an epoch was the last one.
 * Included by train.c for each type. */

/* Each batch of weight m learns from loss + penalty / (2 m) ||w||^2: sets the decay of each segment, and
 * t->penalty, m penalty_factor times the second term. */
static int T_(penalise)(nnl_training *t, double weight, int threads) {
    for (int64_t i = 0; i < t->segment_count; i++) {
        nnl_segment *s = &t->segments[i];
        s->weight_decay = t->penalties[i] / weight;
        if (t->penalties[i] == 0) continue;
        nnl_segment values = {.count = s->count, .grad = s->weight};
        double norm = 0;
        int status = NNL_(gradient_norm)(1, &values, 0, &norm, threads);
        if (status != NNL_OK) return status;
        t->penalty += t->penalty_factor * (t->penalties[i] / 2 * norm * norm);
    }
    return NNL_OK;
}

static double T_(figure)(const nnl_stopping *s, const nnl_training *t, const nnl_sums *sums) {
    if (s->figure == NNL_FIGURE_ACCURACY) {
        return sums->counted ? (double)sums->correct / (double)sums->counted : 0;
    }
    double loss = t->reduction == NNL_SUM ? sums->loss : sums->loss / sums->weight;
    return loss - loss == 0 ? s->offset + s->factor * loss : (double)NAN;
}

static void T_(keep_best)(const nnl_stopping *s, const nnl_training *t) {
    real *kept = s->best_weights;
    for (int64_t i = 0; kept && i < t->segment_count; i++) {
        const nnl_segment *part = &t->segments[i];
        memcpy(kept, part->weight, (size_t)part->count * sizeof(real));
        kept += part->count;
    }
}

/* True where the epoch that has just ended, t->epoch - 1, is the last one. */
static bool T_(stops)(nnl_training *t, const nnl_sums *trained, const nnl_sums *held) {
    nnl_stopping *s = t->stopping;
    double x = T_(figure)(s, t, s->held_out ? held : trained);
    double margin = s->lenient ? s->best + (s->larger ? s->min_delta : -s->min_delta) : 0;
    bool best = s->larger ? x > s->best : x < s->best, improves = best;
    if (s->lenient) {
        improves = !(s->larger ? x < margin : x > margin);
    } else if (s->epoch >= 0) {
        improves = best = (s->larger ? x - s->best : s->best - x) > s->min_delta;
    } else {
        improves = best = x == x;
    }
    s->wait = improves ? 0 : s->wait + 1;
    if (best) {
        s->best = x;
        s->epoch = t->epoch - 1;
        T_(keep_best)(s, t);
    }
    s->stopped = s->wait > s->patience - !s->lenient;
    return s->stopped;
}
