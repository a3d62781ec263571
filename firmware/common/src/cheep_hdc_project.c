/* Projections of the hyperdimensional head. Every table is a function of the seed through random_word. */
#include "cheep_hdc_internal.h"

/* The lower 128 of 256 quantiles of a normal distribution of deviation 40: round(40 Phi^-1((i + 1/2) / 256)). */
static const int8_t normal_quantile[128] = {
    -115, -101, -93, -88, -84, -81, -78, -76, -73, -71, -70, -68, -66, -65, -63, -62, -61, -60, -58, -57, -56, -55,
    -54, -53, -52, -51, -50, -50, -49, -48, -47, -46, -46, -45, -44, -43, -43, -42, -41, -41, -40, -39, -39, -38,
    -38, -37, -36, -36, -35, -35, -34, -33, -33, -32, -32, -31, -31, -30, -30, -29, -29, -28, -28, -27, -27, -26,
    -26, -25, -25, -24, -24, -23, -23, -22, -22, -22, -21, -21, -20, -20, -19, -19, -18, -18, -18, -17, -17, -16,
    -16, -15, -15, -15, -14, -14, -13, -13, -13, -12, -12, -11, -11, -10, -10, -10, -9, -9, -8, -8, -8, -7, -7, -6,
    -6, -6, -5, -5, -5, -4, -4, -3, -3, -3, -2, -2, -1, -1, -1, 0};

/* Word i of the stream of a seed: a bijection of i (the finalizer lowbias32 of C. Wellons). */
static inline uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    x ^= x >> 16;
    return x;
}

static inline uint32_t random_word(uint32_t key, uint32_t i)
{
    return mix((i * 0x9E3779B9u) ^ key);
}

static inline uint32_t stream_key(const cheep_hdc_spec *spec)
{
    return mix(spec->seed + 0x9E3779B9u);
}

static uint32_t block_size(const cheep_hdc_spec *spec)
{
    uint32_t size = 32;
    while (size < spec->n_dims) {
        size *= 2u;
    }
    return size;
}

uint16_t cheep_hdc_padded_dims(const cheep_hdc_spec *spec)
{
    if (spec->projection == CHEEP_HDC_HADAMARD) {
        return (uint16_t)block_size(spec);
    }
    return (uint16_t)((spec->n_dims + 15u) & ~15u);
}

size_t cheep_hdc_scratch_bytes(const cheep_hdc_spec *spec)
{
    switch (spec->projection) {
    case CHEEP_HDC_BIPOLAR: return (size_t)((spec->n_dims + 7u) / 8u) * 512u;
    case CHEEP_HDC_HADAMARD: return (size_t)block_size(spec) * 2u;
    default: return (size_t)cheep_hdc_padded_dims(spec) * 4u;
    }
}

/* What becomes of four successive projections. */
typedef struct {
    uint32_t *query;
    uint32_t norm2;
    int32_t half;
    uint8_t shift;
    uint8_t form;
} sink;

static inline void emit_values(sink *to, uint32_t group, int32_t b0, int32_t b1, int32_t b2, int32_t b3)
{
    uint32_t *pair = to->query + 2u * group;
    hdc_pair(b0, b1, b2, b3, pair);
    to->norm2 = (uint32_t)(hdc_mac2(pair[0], pair[0], (int32_t)to->norm2) + b0 * b0 + b2 * b2);
}

/* Rows 4 group .. 4 group + 3. */
static inline void emit(sink *to, uint32_t group, int32_t a0, int32_t a1, int32_t a2, int32_t a3)
{
    if (to->form == CHEEP_HDC_INT8) {
        emit_values(to, group, hdc_clip127((a0 + to->half) >> to->shift), hdc_clip127((a1 + to->half) >> to->shift),
                    hdc_clip127((a2 + to->half) >> to->shift), hdc_clip127((a3 + to->half) >> to->shift));
    } else if (to->form == CHEEP_HDC_BINARY) {
        uint32_t at = (2u * group) % 16u;
        uint32_t negative = (((uint32_t)a0 >> 31) << at) | (((uint32_t)a1 >> 31) << (at + 16u)) |
                            (((uint32_t)a2 >> 31) << (at + 1u)) | (((uint32_t)a3 >> 31) << (at + 17u));
        uint32_t *word = to->query + group / 8u;
        *word = at == 0u ? ~negative : *word & ~negative;
    } else {
        emit_values(to, group, a0 >= 0 ? 1 : -1, a1 >= 0 ? 1 : -1, a2 >= 0 ? 1 : -1, a3 >= 0 ? 1 : -1);
    }
}

/* sum of 4 rows of the table over 16 columns at a time, each 256 x the product. */
static void gaussian_rows(const uint32_t *table, const uint32_t *pairs, uint32_t quads, int32_t *sums)
{
    int32_t s0 = 0;
    int32_t s1 = 0;
    int32_t s2 = 0;
    int32_t s3 = 0;
    for (const uint32_t *end = pairs + 2u * quads; pairs != end; pairs += 8, table += 16) {
        for (unsigned k = 0; k < 4u; k++) {
            uint32_t pair0 = pairs[2u * k];
            uint32_t pair1 = pairs[2u * k + 1u];
            s0 = hdc_mac4(table[4u * k], pair0, pair1, s0);
            s1 = hdc_mac4(table[4u * k + 1u], pair0, pair1, s1);
            s2 = hdc_mac4(table[4u * k + 2u], pair0, pair1, s2);
            s3 = hdc_mac4(table[4u * k + 3u], pair0, pair1, s3);
        }
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

/* Rows 4 group .. 4 group + 3 of the table, from the seed. */
static void gaussian_table(const cheep_hdc_spec *spec, uint32_t key, uint32_t group, uint32_t quads, uint32_t *table)
{
    for (uint32_t r = 0; r < 4u; r++) {
        for (uint32_t k = 0; k < quads; k++) {
            uint32_t word = random_word(key, (4u * group + r) * quads + k);
            int32_t w[4];
            for (uint32_t j = 0; j < 4u; j++) {
                uint32_t i = (word >> (8u * j)) & 0xFFu;
                int32_t quantile = i < 128u ? normal_quantile[i] : -normal_quantile[255u - i];
                w[j] = 4u * k + j < spec->n_dims ? quantile : 0;
            }
            table[4u * k + r] = hdc_code(w[0], w[1], w[2], w[3]);
        }
    }
}

static void project_gaussian(cheep_hdc *h, sink *to)
{
    const cheep_hdc_spec *spec = h->spec;
    uint32_t quads = cheep_hdc_padded_dims(spec) / 4u;
    uint32_t key = stream_key(spec);
    uint32_t *scratch = (uint32_t *)(void *)h->scratch;
    for (uint32_t k = 0; k < quads; k++) {
        uint32_t *pair = h->pairs + 2u * k;
        hdc_pair(hdc_low(pair[0]), hdc_high(pair[0]), hdc_low(pair[1]), hdc_high(pair[1]), pair);
    }
    to->shift = (uint8_t)(to->shift + 8u); /* the sums are 256 x the products */
    to->half <<= 8;
    for (uint32_t group = 0; group < spec->hyper / 4u; group++) {
        int32_t sums[4];
        const uint32_t *table = spec->matrix + group * 4u * quads;
        if (spec->matrix == NULL) {
            gaussian_table(spec, key, group, quads, scratch);
            table = scratch;
        }
        gaussian_rows(table, h->pairs, quads, sums);
        emit(to, group, sums[0], sums[1], sums[2], sums[3]);
    }
}

static inline int32_t embedding_value(const cheep_hdc *h, uint32_t i)
{
    return i % 2u == 0u ? hdc_low(h->pairs[i / 2u]) : hdc_high(h->pairs[i / 2u]);
}

/* Signed sums of 8 values for each byte of signs: lut[byte] = sum of (bit j ? e_j : -e_j). */
static void sign_sums(const cheep_hdc *h, uint32_t bytes)
{
    const cheep_hdc_spec *spec = h->spec;
    for (uint32_t b = 0; b < bytes; b++) {
        int16_t *lut = h->scratch + 256u * b;
        int32_t all = 0;
        for (uint32_t j = 0; j < 8u; j++) {
            all += 8u * b + j < spec->n_dims ? embedding_value(h, 8u * b + j) : 0;
        }
        lut[0] = (int16_t)-all;
        for (uint32_t j = 0; j < 8u; j++) {
            int32_t twice = 8u * b + j < spec->n_dims ? 2 * embedding_value(h, 8u * b + j) : 0;
            uint32_t n = 1u << j;
            for (uint32_t m = 0; m < n; m++) {
                lut[m + n] = (int16_t)(lut[m] + twice);
            }
        }
    }
}

static void project_bipolar(cheep_hdc *h, sink *to)
{
    const cheep_hdc_spec *spec = h->spec;
    uint32_t bytes = (spec->n_dims + 7u) / 8u;
    uint32_t words = (spec->n_dims + 31u) / 32u;
    uint32_t key = stream_key(spec);
    sign_sums(h, bytes);
    for (uint32_t group = 0; group < spec->hyper / 4u; group++) {
        int32_t sums[4];
        for (uint32_t r = 0; r < 4u; r++) {
            uint32_t first = (4u * group + r) * words;
            int32_t sum = 0;
            const int16_t *lut = h->scratch;
            for (uint32_t k = 0; k < words; k++) {
                uint32_t signs = spec->matrix != NULL ? spec->matrix[first + k] : random_word(key, first + k);
                uint32_t here = bytes - 4u * k < 4u ? bytes - 4u * k : 4u;
                for (uint32_t b = 0; b < here; b++, lut += 256, signs >>= 8) {
                    sum += lut[signs & 0xFFu];
                }
            }
            sums[r] = sum;
        }
        emit(to, group, sums[0], sums[1], sums[2], sums[3]);
    }
}

/* Butterflies between words x[i] and x[i + stride]; two stages (stride, stride / 2) in one pass. */
static void butterflies4(uint32_t *x, uint32_t n, uint32_t stride)
{
    uint32_t half = stride / 2u;
    for (uint32_t base = 0; base < n; base += 2u * stride) {
        for (uint32_t *at = x + base, *end = at + half; at != end; at++) {
            uint32_t a = at[0];
            uint32_t b = at[half];
            uint32_t c = at[stride];
            uint32_t d = at[stride + half];
            uint32_t ac = hdc_add2(a, c);
            uint32_t bd = hdc_add2(b, d);
            uint32_t a_c = hdc_sub2(a, c);
            uint32_t b_d = hdc_sub2(b, d);
            at[0] = hdc_add2(ac, bd);
            at[half] = hdc_sub2(ac, bd);
            at[stride] = hdc_add2(a_c, b_d);
            at[stride + half] = hdc_sub2(a_c, b_d);
        }
    }
}

static void butterflies2(uint32_t *x, uint32_t n, uint32_t stride)
{
    for (uint32_t base = 0; base < n; base += 2u * stride) {
        for (uint32_t *at = x + base, *end = at + stride; at != end; at++) {
            uint32_t a = at[0];
            uint32_t b = at[stride];
            at[0] = hdc_add2(a, b);
            at[stride] = hdc_sub2(a, b);
        }
    }
}

/* Walsh-Hadamard transform in natural order of 2 n values in n words, but for the last stage (hdc_cross). */
static void transform(uint32_t *x, uint32_t n)
{
    uint32_t stride = n / 2u;
    for (; stride >= 2u; stride /= 4u) {
        butterflies4(x, n, stride);
    }
    if (stride == 1u) {
        butterflies2(x, n, 1u);
    }
}

/* Signs of 32 successive values: the last stage and the sign bits of 16 words. */
static uint32_t sign_bits(const uint32_t *x)
{
    uint32_t negative = 0;
    for (unsigned i = 0; i < 16u; i++) {
        negative |= (hdc_cross(x[i]) & 0x80008000u) >> (15u - i);
    }
    return ~negative;
}

static void project_hadamard(cheep_hdc *h, sink *to)
{
    /* bit 0: the low lane is kept (else negated); bit 1: the high lane */
    static const uint32_t negate[4] = {0xFFFFFFFFu, 0xFFFF0000u, 0x0000FFFFu, 0u};
    const cheep_hdc_spec *spec = h->spec;
    uint32_t words = block_size(spec) / 2u;
    uint32_t key = stream_key(spec);
    uint32_t *x = (uint32_t *)(void *)h->scratch;
    uint32_t sign_word = 0;
    uint32_t group = 0;
    for (uint32_t row = 0; row < spec->hyper; row += 2u * words) {
        for (uint32_t i = 0; i < words; i += 16u, sign_word++) {
            uint32_t signs = spec->matrix != NULL ? spec->matrix[sign_word] : random_word(key, sign_word);
            for (uint32_t j = 0; j < 16u; j++, signs >>= 2) {
                uint32_t mask = negate[signs & 3u];
                x[i + j] = hdc_sub2(h->pairs[i + j] ^ mask, mask);
            }
        }
        transform(x, words);
        if (to->form == CHEEP_HDC_BINARY) {
            for (uint32_t i = 0; i < words; i += 16u) {
                to->query[(row + 2u * i) / 32u] = sign_bits(x + i);
            }
            continue;
        }
        for (uint32_t i = 0; i < words; i += 2u, group++) {
            uint32_t low = hdc_cross(x[i]);
            uint32_t high = hdc_cross(x[i + 1u]);
            emit(to, group, hdc_low(low), hdc_high(low), hdc_low(high), hdc_high(high));
        }
    }
}

void cheep_hdc_project(cheep_hdc *h)
{
    const cheep_hdc_spec *spec = h->spec;
    sink to = {h->query, 0, spec->shift > 0u ? (int32_t)(1u << (spec->shift - 1u)) : 0, spec->shift, spec->form};
    switch (spec->projection) {
    case CHEEP_HDC_BIPOLAR: project_bipolar(h, &to); break;
    case CHEEP_HDC_HADAMARD: project_hadamard(h, &to); break;
    default: project_gaussian(h, &to); break;
    }
    h->query_norm2 = spec->form == CHEEP_HDC_BINARY ? spec->hyper : to.norm2;
}
