/* SPDX-License-Identifier: MIT */
/* What the int8 output of a network means: the one place in C that turns it into what the detector adds up, and that
 * into a probability for people. No libm: the same bits on every processor.
 *
 * A network of Cheep ends before its sigmoid or softmax. Its int8 output is a logit, (q - zero_point) * scale, with steps
 * where thresholds live; a sigmoid in 8 bits has four steps between 0.984 and 1. Models made before that, and those of
 * others, keep their activation: their output is a probability.
 */
#ifndef CHEEP_SCORES_H
#define CHEEP_SCORES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    CHEEP_SCORES_PROBABILITY = 0, /* the activation is in the network; units are q */
    CHEEP_SCORES_LOGIT = 1,       /* before a sigmoid, each label by itself; units are q */
    CHEEP_SCORES_LOG_ODDS = 2     /* before a softmax; units are the log-odds of a label against all others, 1/256 each */
} cheep_score_kind;

#define CHEEP_LOG_ODDS_PER_NAT 256

typedef struct {
    cheep_score_kind kind;
    float scale;          /* of the network's output */
    int32_t zero_point;
} cheep_score_scale;

/* One row of n int8 scores -> n units, which the detector adds up. n: 1..CHEEP_MAX_CLASSES. */
void cheep_scores_units(const cheep_score_scale *s, const int8_t *q, uint16_t n, int16_t *units);

/* ln(p / rest), rest = 1 - p: apart, because 1 - p of a p near 1 has few digits. Within 4e-6 (p >= 1e-30). */
float cheep_scores_logit(float p, float rest);

/* A logit as a probability and what is left of 1. */
void cheep_scores_parts(float logit, double *p, double *rest);

/* A logit as a probability in millionths, 1 to 999999: no logit is ever sure. */
uint32_t cheep_scores_probability_e6(float logit);

/* What a sum of `smoothing` units means: the mean logit, or the mean probability of the older models. */
float cheep_scores_value(const cheep_score_scale *s, int32_t sum, uint16_t smoothing);

/* The same in 1/1000. */
int32_t cheep_scores_value_e3(const cheep_score_scale *s, int32_t sum, uint16_t smoothing);

/* The same as a probability in millionths. */
uint32_t cheep_scores_sum_e6(const cheep_score_scale *s, int32_t sum, uint16_t smoothing);

/* The least sum of `smoothing` units whose mean is at least `value`: a logit, or a probability of the older models.
 * The bound is taken one part in 10^9 lower: a mean that equals a written number such as 0.7 is on. */
int32_t cheep_scores_least_sum(const cheep_score_scale *s, double value, uint16_t smoothing);

/* The same of a probability, with rest = 1 - p: from 0 (always on) to 1 (never, for logits). */
int32_t cheep_scores_on_sum(const cheep_score_scale *s, double p, double rest, uint16_t smoothing);

/* Where a class that came on at p goes off: at p - hysteresis. Where the network gives logits, at p / 2 at least: a
 * logit is never 0, so a class would stay on for ever. */
int32_t cheep_scores_off_sum(const cheep_score_scale *s, double p, double rest, double hysteresis, uint16_t smoothing);

#ifdef __cplusplus
}
#endif
#endif
