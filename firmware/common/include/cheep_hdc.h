/* SPDX-License-Identifier: MIT */
/* Hyperdimensional head: an embedding (int8) -> a hypervector -> the nearest class prototype.
 *
 * Classes known at build time are constants (flash). Further classes are learned on the device from a
 * few examples, kept in the caller's memory and saved to two storage slots. Integer arithmetic only:
 * the same bits in Python, on x86-64 and on a Cortex-M4F, with and without its DSP instructions.
 *
 *     static uint32_t memory[...];                         // cheep_hdc_memory_bytes(&spec, slots)
 *     cheep_hdc_init(&hdc, &spec, slots, memory, sizeof memory);
 *     cheep_hdc_load(&hdc, &storage);
 *     cheep_hdc_classify(&hdc, embedding, &result);        // per window
 *     cheep_hdc_add_class(&hdc, "knock", &index);          // once
 *     cheep_hdc_learn(&hdc, index, embedding);             // per example
 *     cheep_hdc_save(&hdc, &storage);
 *
 * All memory is the caller's; not thread-safe for one cheep_hdc. At most about 300 bytes of stack.
 */
#ifndef CHEEP_HDC_H
#define CHEEP_HDC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_HDC_MAX_DIMS 256   /* embedding */
#define CHEEP_HDC_MIN_HYPER 256  /* hypervector; a multiple of 256 */
#define CHEEP_HDC_MAX_HYPER 8192
#define CHEEP_HDC_MAX_CLASSES 64 /* fixed and learned together */
#define CHEEP_HDC_NAME_BYTES 16  /* name of a learned class, zero-terminated UTF-8 */
#define CHEEP_HDC_UNKNOWN 0xFFFFu
#define CHEEP_HDC_NO_SCORE INT32_MIN /* a learned class that is not in use, or a fixed one that is overridden */

/* Rows of the projection. All are functions of the seed, so a table of them is a matter of speed. */
enum {
    CHEEP_HDC_GAUSSIAN = 0, /* int8, independent normal entries; table: 4 rows x 4 columns in 4 words, see below */
    CHEEP_HDC_BIPOLAR = 1,  /* +1/-1, independent; table: one bit per entry, rows of whole words */
    CHEEP_HDC_HADAMARD = 2  /* +1/-1, blocks of (Walsh-Hadamard x random signs); table: the signs, H/32 words */
};

/* Elements of a hypervector. */
enum {
    CHEEP_HDC_INT8 = 0,         /* clip(x >> shift, -128, 127) | 1, the odd numbers -127..127; prototypes int8 */
    CHEEP_HDC_BIPOLAR_FORM = 1, /* x >= 0 ? 1 : -1; prototypes int8 */
    CHEEP_HDC_BINARY = 2        /* x >= 0, one bit; prototypes one bit */
};

/* Scores: COSINE in 1/32768 (to about 2 units, see cheep_hdc.c); DOT plain integer (int8 and bipolar forms), agreeing minus disagreeing elements
 * (binary); for binary hypervectors COSINE is that number over H, which is 1 - 2 hamming / H. */
enum { CHEEP_HDC_COSINE = 0, CHEEP_HDC_DOT = 1 };

/* Lane coding of 4 successive int8 values b0..b3 (each -127..127) in one word: low half 256 b1 + b0, high half
 * 256 b3 + b2, as signed sums. Gaussian tables: word[(row / 4 * Dp / 4 + column / 4) * 4 + row % 4], Dp = n_dims
 * rounded up to 16 with zeros. Prototypes of the int8 and bipolar forms: H / 4 words per class.
 * Bit coding of 32 successive elements in one word: element 2 i at bit i, element 2 i + 1 at bit 16 + i. */
typedef struct {
    uint32_t id;             /* names extractor, scaling and projection: what is learned belongs to it */
    uint16_t n_dims;         /* 1..CHEEP_HDC_MAX_DIMS */
    uint16_t hyper;          /* H: multiple of 256, CHEEP_HDC_MIN_HYPER..CHEEP_HDC_MAX_HYPER */
    uint8_t projection;      /* CHEEP_HDC_GAUSSIAN, _BIPOLAR, _HADAMARD */
    uint8_t form;            /* CHEEP_HDC_INT8, _BIPOLAR_FORM, _BINARY */
    uint8_t similarity;      /* CHEEP_HDC_COSINE, _DOT */
    uint8_t shift;           /* 0..20, int8 form only */
    uint8_t gain_shift;      /* 1..20 */
    uint32_t seed;
    const int16_t *center;   /* n_dims, in 1/16 of a step of the embedding, -2048..2047 */
    const int16_t *gain;     /* n_dims: e = clip(((16 q - center) gain + 2^(gain_shift-1)) >> gain_shift, +-127) */
    const uint32_t *matrix;  /* table of the projection, or NULL: made from the seed at every call */
    uint16_t n_classes;      /* fixed classes, 0..CHEEP_HDC_MAX_CLASSES */
    const uint32_t *prototypes; /* n_classes vectors; NULL if there are none */
    int32_t reject;          /* a best score below this is CHEEP_HDC_UNKNOWN; INT32_MIN: never */
    const int8_t *reminders; /* n_classes * n_reminders embeddings, typical ones of each fixed class, or NULL */
    uint16_t n_reminders;    /* per class */
} cheep_hdc_spec;

/* A class learned on the device. */
typedef struct {
    char name[CHEEP_HDC_NAME_BYTES];
    uint16_t overrides;    /* fixed class that this one replaces, or CHEEP_HDC_UNKNOWN */
    uint16_t count;        /* examples bundled */
    bool used;
    int16_t *sum;          /* H: bundle of hypervectors, saturating */
    uint32_t *prototype;   /* the same as a prototype */
} cheep_hdc_slot;

typedef struct {
    const cheep_hdc_spec *spec;
    uint16_t n_slots;
    uint32_t *pairs;       /* normalized embedding, 2 words per 4 values: (b1, b3), (256 b0 - b1, 256 b2 - b3) */
    uint32_t *query;       /* the hypervector, coded as pairs (int8, bipolar) or bits (binary) */
    int16_t *scratch;      /* projection's own */
    uint32_t *inverse;     /* n_classes + n_slots: 2^38 / (16 |prototype|) */
    cheep_hdc_slot *slot;  /* n_slots */
    uint32_t query_norm2;  /* squared length of the query */
} cheep_hdc;

typedef struct {
    uint16_t class_index;  /* fixed: 0..n_classes-1; learned: n_classes + slot; or CHEEP_HDC_UNKNOWN */
    uint16_t nearest;      /* the class with the best score, whether or not it passes spec->reject */
    int32_t score;         /* of the nearest class */
    int32_t second;        /* next best score of another class, or CHEEP_HDC_NO_SCORE */
} cheep_hdc_result;

/* Bytes that cheep_hdc_init wants, or 0 for an invalid spec or too many classes. */
size_t cheep_hdc_memory_bytes(const cheep_hdc_spec *spec, uint16_t n_slots);

/* memory: aligned to 8. n_slots: classes that can be learned. Learned classes start empty. */
cheep_status cheep_hdc_init(cheep_hdc *h, const cheep_hdc_spec *spec, uint16_t n_slots, void *memory,
                            size_t memory_bytes);

/* embedding[n_dims] -> h->query. */
void cheep_hdc_encode(cheep_hdc *h, const int8_t *embedding);

/* The hypervector in h->query as plain numbers: hv[H], -127..127 (binary and bipolar: -1 or 1). */
void cheep_hdc_query_values(const cheep_hdc *h, int8_t *hv);

/* Scores of h->query; scores[n_classes + n_slots], or NULL. result may be NULL. */
void cheep_hdc_compare(const cheep_hdc *h, int32_t *scores, cheep_hdc_result *result);

/* Encode and compare. */
void cheep_hdc_classify(cheep_hdc *h, const int8_t *embedding, cheep_hdc_result *result);

/* Cosine scores as int8 for cheep_detector: round(cosine * 128), clipped to -128..127 (scale 1/128, zero point 0);
 * classes without a score give -128. scores: n_classes + n_slots values of cheep_hdc_compare. */
void cheep_hdc_detector_scores(const cheep_hdc *h, const int32_t *scores, int8_t *out);

/* Take a free slot for a new class. CHEEP_ERROR_MEMORY when none is left, CHEEP_ERROR_ARGUMENT for an empty or too
 * long name, or one in use. It has no score before its first example. */
cheep_status cheep_hdc_add_class(cheep_hdc *h, const char *name, uint16_t *class_index);

/* Make a fixed class learnable: a slot starts from its prototype, which counts as `weight` examples (1..64), and
 * replaces it. *class_index: the index of the slot. */
cheep_status cheep_hdc_adopt(cheep_hdc *h, uint16_t fixed_class, uint16_t weight, uint16_t *class_index);

/* Bundle one more example into a learned class (or take it out again). CHEEP_ERROR_ARGUMENT when class_index is no
 * learned class in use, or nothing is left to take out. Taking out is exact until a sum saturates at +-32767. */
cheep_status cheep_hdc_learn(cheep_hdc *h, uint16_t class_index, const int8_t *embedding);
cheep_status cheep_hdc_unlearn(cheep_hdc *h, uint16_t class_index, const int8_t *embedding);

/* Learn only from a mistake: when another class is nearest, learn the example, and unlearn it there if that class is
 * a learned one with other examples. *changed says whether anything was. */
cheep_status cheep_hdc_refine(cheep_hdc *h, uint16_t class_index, const int8_t *embedding, bool *changed);

/* Remind learned classes of the fixed ones: a reminder that a learned class wins is taken out of that class, as if it
 * had been learned by mistake; over and over, at most `passes` times through all reminders. Returns how often.
 * Call it when a class has been learned. Old classes keep what a bundle of raw examples would take from them. */
uint32_t cheep_hdc_rehearse(cheep_hdc *h, uint16_t passes);

/* Drop a learned class; a fixed class that it replaced is back. */
cheep_status cheep_hdc_forget(cheep_hdc *h, uint16_t class_index);

/* Index of the learned class of this name, or CHEEP_HDC_UNKNOWN. */
uint16_t cheep_hdc_find(const cheep_hdc *h, const char *name);

/* ---- Storage ----------------------------------------------------------------------------------------------------
 * Two slots of equal size (flash sectors, files). write: after an erase, at ascending offsets, in blocks of
 * CHEEP_HDC_BLOCK bytes. A slot never written reads as 0xFF. A power cut may leave any slot being erased or written in any condition. */
#define CHEEP_HDC_BLOCK 64u
#define CHEEP_HDC_FORMAT 1u

typedef struct {
    void *context;
    uint32_t slot_bytes;
    cheep_status (*erase)(void *context, unsigned slot);
    cheep_status (*write)(void *context, unsigned slot, uint32_t offset, const uint8_t *data, uint32_t n);
    cheep_status (*read)(void *context, unsigned slot, uint32_t offset, uint8_t *data, uint32_t n);
} cheep_hdc_storage;

/* Bytes of a slot that hold every learned class. */
uint32_t cheep_hdc_record_bytes(const cheep_hdc *h);

/* Write the learned classes to the slot that does not hold the newest good record, and read it back. Until the last
 * block is written the record before it is the valid one. CHEEP_ERROR_MEMORY: slot_bytes too small. */
cheep_status cheep_hdc_save(const cheep_hdc *h, const cheep_hdc_storage *storage);

/* Replace the learned classes by the newest good record. CHEEP_OK with none learned: both slots are blank.
 * CHEEP_ERROR_CORRUPT: neither slot is good, though not both are blank. CHEEP_ERROR_MISMATCH: the record belongs to
 * another model or needs more slots; CHEEP_ERROR_IO. On an error no class is learned. */
cheep_status cheep_hdc_load(cheep_hdc *h, const cheep_hdc_storage *storage);

#ifdef __cplusplus
}
#endif
#endif
