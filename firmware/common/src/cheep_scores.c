/* SPDX-License-Identifier: MIT */
#include "cheep_scores.h"

#include "cheep_detector.h"
#include "cheep_math.h"

#define LOG2_E 1.44269504f
#define LN_2 0.693147181f

/* To the nearest whole number, halves to the even one; |x| < 2^22. */
static int32_t nearest(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23 */
    return cheep_bits_of(x + magic) - cheep_bits_of(magic);
}

/* Log-odds of each label against the rest: z_k - ln(sum of exp(z_j) over j != k).
 * Every sum is taken relative to the largest of its terms, so that it holds a 1 and loses nothing that counts: the
 * sum against the winner is relative to the second. The order of additions is that of the labels, on every machine. */
static void log_odds(const cheep_score_scale *s, const int8_t *q, uint16_t n, int16_t *units)
{
    const float step = s->scale * LOG2_E; /* one step of q, as a power of two */
    float power[CHEEP_MAX_CLASSES];       /* of each label, relative to the winner */
    float second_sum = 0.0f;
    uint16_t first = 0;
    int32_t second = -129;

    for (uint16_t i = 1; i < n; i++) {
        first = q[i] > q[first] ? i : first;
    }
    for (uint16_t i = 0; i < n; i++) {
        power[i] = cheep_exp2((float)(q[i] - q[first]) * step);
        second = i != first && q[i] > second ? q[i] : second;
    }
    for (uint16_t i = 0; i < n; i++) {
        if (i != first) {
            second_sum += cheep_exp2((float)(q[i] - second) * step);
        }
    }
    for (uint16_t k = 0; k < n; k++) {
        float sum = 0.0f;
        float odds = (float)(q[first] - second) * step - cheep_log2(second_sum);
        if (k != first) {
            for (uint16_t i = 0; i < n; i++) {
                sum += i == k ? 0.0f : power[i];
            }
            odds = (float)(q[k] - q[first]) * step - cheep_log2(sum);
        }
        const float scaled = odds * (LN_2 * CHEEP_LOG_ODDS_PER_NAT);
        const int32_t unit = scaled > 32767.0f ? 32767 : scaled < -32768.0f ? -32768 : nearest(scaled);
        units[k] = (int16_t)unit;
    }
}

void cheep_scores_units(const cheep_score_scale *s, const int8_t *q, uint16_t n, int16_t *units)
{
    if (s->kind == CHEEP_SCORES_LOG_ODDS && n > 1u) {
        log_odds(s, q, n, units);
        return;
    }
    for (uint16_t i = 0; i < n; i++) {
        units[i] = q[i];
    }
}

float cheep_scores_logit(float p, float rest)
{
    return (cheep_log2(p) - cheep_log2(rest)) * LN_2;
}

static float small_odds(float logit) /* exp(-|logit|) */
{
    return cheep_exp2((logit < 0.0f ? logit : -logit) * LOG2_E);
}

void cheep_scores_parts(float logit, double *p, double *rest)
{
    const double small = (double)small_odds(logit);
    *p = logit < 0.0f ? small / (1.0 + small) : 1.0 / (1.0 + small);
    *rest = logit < 0.0f ? 1.0 / (1.0 + small) : small / (1.0 + small);
}

uint32_t cheep_scores_probability_e6(float logit)
{
    const float small = small_odds(logit);
    const int32_t rest = nearest(1e6f * (small / (1.0f + small)));           /* of the less likely side */
    const int32_t least = rest < 1 ? 1 : rest;
    return (uint32_t)(logit < 0.0f ? least : 1000000 - least);
}

/* Of one unit, and the unit that means 0. */
static float unit_of(const cheep_score_scale *s)
{
    return s->kind == CHEEP_SCORES_LOG_ODDS ? 1.0f / CHEEP_LOG_ODDS_PER_NAT : s->scale;
}

static int32_t origin_of(const cheep_score_scale *s)
{
    return s->kind == CHEEP_SCORES_LOG_ODDS ? 0 : s->zero_point;
}

float cheep_scores_value(const cheep_score_scale *s, int32_t sum, uint16_t smoothing)
{
    return (float)(sum - origin_of(s) * (int32_t)smoothing) * unit_of(s) / (float)smoothing;
}

int32_t cheep_scores_value_e3(const cheep_score_scale *s, int32_t sum, uint16_t smoothing)
{
    const float scaled = 1e3f * cheep_scores_value(s, sum, smoothing);
    return nearest(scaled > 4e6f ? 4e6f : scaled < -4e6f ? -4e6f : scaled);
}

uint32_t cheep_scores_sum_e6(const cheep_score_scale *s, int32_t sum, uint16_t smoothing)
{
    const float value = cheep_scores_value(s, sum, smoothing);
    if (s->kind != CHEEP_SCORES_PROBABILITY) {
        return cheep_scores_probability_e6(value);
    }
    return value > 0.0f ? (uint32_t)nearest(1e6f * value) : 0u;
}

int32_t cheep_scores_least_sum(const cheep_score_scale *s, double value, uint16_t smoothing)
{
    const double part = (double)smoothing * (value / (double)unit_of(s));
    const double size = part < 0.0 ? -part : part;
    const double bound = part + (double)smoothing * origin_of(s) - 1e-9 * (size > 1.0 ? size : 1.0);
    if (bound > 2147483646.0 || bound < -2147483647.0) {
        return bound > 0.0 ? 2147483646 : -2147483647; /* out of reach, or always reached */
    }
    const int32_t whole = (int32_t)bound; /* towards zero */
    return (double)whole < bound ? whole + 1 : whole;
}

int32_t cheep_scores_on_sum(const cheep_score_scale *s, double p, double rest, uint16_t smoothing)
{
    if (s->kind == CHEEP_SCORES_PROBABILITY) {
        return cheep_scores_least_sum(s, p, smoothing);
    }
    if (!(p > 1e-30)) {
        return -2147483647;
    }
    return rest > 1e-30 ? cheep_scores_least_sum(s, (double)cheep_scores_logit((float)p, (float)rest), smoothing)
                      : 2147483646;
}

int32_t cheep_scores_off_sum(const cheep_score_scale *s, double p, double rest, double hysteresis, uint16_t smoothing)
{
    const double least = s->kind == CHEEP_SCORES_PROBABILITY ? 0.0 : 0.5 * p;
    const double off = p - hysteresis > least ? p - hysteresis : least;
    return cheep_scores_on_sum(s, off, rest + (p - off), smoothing);
}
