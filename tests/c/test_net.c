/* SPDX-License-Identifier: MIT */
/* The queue in flash and the update against power cuts: test_net queue|update CUTS SEED.
 *
 * The flash is an array in which a write clears bits and an erase sets them. A cut comes in the middle of such an operation
 * and leaves any of its bits done or not done; then everything starts again from the flash alone. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cheep_crc32.h"
#include "cheep_queue.h"
#include "cheep_update.h"

#define SECTOR 1024u
#define FLASH_BYTES (48u * SECTOR)

static uint8_t flash[FLASH_BYTES];
static jmp_buf power;
static uint32_t until_cut; /* operations; 0: none comes */
static uint64_t cuts;
static uint64_t state;

static uint32_t draw(uint32_t n) /* 0 to n - 1 */
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

#define REQUIRE(what)                                                                                                  \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "line %d after %llu cuts: %s\n", __LINE__, (unsigned long long)cuts, #what);             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Half done in any way: nothing, all, a beginning, all but for a few bytes, or any bits. */
static uint8_t partial(uint8_t from, uint8_t to, uint32_t kind, uint32_t i, uint32_t end)
{
    switch (kind) {
    case 0: return from;
    case 1: return to;
    case 2: return i < end ? to : from;
    case 3:
        if (i < end || i >= end + 4u) {
            return to;
        } /* fall through */
    default: return (uint8_t)(from ^ ((from ^ to) & draw(256)));
    }
}

static void change(uint32_t at, uint32_t n, const uint8_t *data) /* data NULL: erase */
{
    bool cut = until_cut > 0u && --until_cut == 0u;
    uint32_t kind = cut ? draw(5) : 1u;
    uint32_t end = cut ? draw(n + 1u) : n;
    REQUIRE(at + n <= FLASH_BYTES);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t to = data == NULL ? 0xFFu : flash[at + i] & data[i];
        flash[at + i] = partial(flash[at + i], to, kind, i, end);
    }
    if (cut) {
        cuts++;
        longjmp(power, 1);
    }
}

static cheep_status flash_erase(void *context, uint32_t sector)
{
    (void)context;
    change(sector * SECTOR, SECTOR, NULL);
    return CHEEP_OK;
}

static cheep_status flash_write(void *context, uint32_t offset, const void *data, uint32_t n)
{
    (void)context;
    change(offset, n, data);
    return CHEEP_OK;
}

static cheep_status flash_read(void *context, uint32_t offset, void *data, uint32_t n)
{
    (void)context;
    memcpy(data, flash + offset, n);
    return CHEEP_OK;
}

/* The queue. What the broker has seen: each number at least once, in order but for copies, with its own content. */

static uint32_t given;     /* last number that append has returned */
static uint32_t seen;      /* highest number delivered */
static uint32_t taken;     /* highest number whose acknowledgement returned */
static uint64_t copies, sectors_used;

static void fill(uint32_t number, uint8_t *record, uint32_t *n)
{
    *n = 1u + number % CHEEP_QUEUE_RECORD_BYTES;
    for (uint32_t i = 0; i < *n; i++) {
        record[i] = (uint8_t)(number * 31u + i);
    }
}

static void use_queue(const cheep_flash *f, uint32_t id)
{
    cheep_queue q;
    uint8_t record[CHEEP_QUEUE_RECORD_BYTES];
    uint8_t expected[CHEEP_QUEUE_RECORD_BYTES];
    uint32_t n;
    uint32_t number;
    REQUIRE(cheep_queue_open(&q, f, id) == CHEEP_OK);
    REQUIRE(given == 0u || q.id == 77u);
    /* One more may lie there: appended, and cut before it was said. */
    REQUIRE(q.next == given + 1u || q.next == given + 2u);
    given = q.next - 1u;
    REQUIRE(q.waiting <= given - taken && q.waiting >= given - seen);
    for (;;) {
        if (draw(100) < 52u) {
            fill(q.next, record, &n);
            cheep_status status = cheep_queue_append(&q, record, n, &number);
            if (status == CHEEP_OK) {
                REQUIRE(number == given + 1u);
                given = number;
            } else {
                REQUIRE(status == CHEEP_ERROR_MEMORY && q.waiting > (f->sectors - 2u) * (SECTOR / CHEEP_QUEUE_SLOT - 2u) / 2u);
            }
        }
        REQUIRE(cheep_queue_oldest(&q, record, &n, &number) == CHEEP_OK);
        REQUIRE((n > 0u) == (q.waiting > 0u));
        if (n > 0u && draw(100) < 50u) {
            uint32_t length;
            fill(number, expected, &length);
            REQUIRE(n == length && memcmp(record, expected, n) == 0);
            REQUIRE(number <= seen + 1u); /* none left out */
            copies += number <= seen ? 1u : 0u;
            seen = number > seen ? number : seen;
            REQUIRE(cheep_queue_acknowledge(&q, number + 1u) == CHEEP_ERROR_ARGUMENT);
            REQUIRE(cheep_queue_acknowledge(&q, number) == CHEEP_OK);
            taken = number > taken ? number : taken;
        }
        sectors_used = q.serial;
    }
}

static void test_queue(uint64_t wanted)
{
    const cheep_flash f = {NULL, SECTOR, 4, flash_erase, flash_write, flash_read};
    memset(flash, 0xFF, sizeof flash);
    (void)setjmp(power);
    if (cuts < wanted) {
        until_cut = 1u + draw(cuts % 3u == 0u ? 6u : 60u); /* also again during the start */
        use_queue(&f, 77u);
    }
    REQUIRE(given > wanted && copies > 0u);
    printf("{\"cuts\":%llu,\"given\":%u,\"seen\":%u,\"copies\":%llu,\"sectors\":%llu}\n", (unsigned long long)cuts, given,
           seen, (unsigned long long)copies, (unsigned long long)sectors_used);
}

/* The update, over two places and a bootloader with ESP-IDF's rules (its guide to OTA): two records of which the valid one
 * with the higher number says what runs; a new application is marked as on trial before its first start, and as given up when
 * it is found on trial again; an image that is not whole is passed over. */

#define PLACE_BYTES (16u * SECTOR)
#define RECORDS (32u * SECTOR)  /* two sectors */

enum { NEW = 0, TRIAL = 1, VALID = 2, INVALID = 3, ABORTED = 4, UNDEFINED = -1 };

typedef struct {
    uint32_t number;
    uint8_t label[20];
    uint32_t state;
    uint32_t crc; /* of the number */
} boot_record;

typedef struct {
    uint32_t version;
    uint32_t passes; /* its golden windows */
    uint32_t bytes;
    uint32_t crc;    /* of what follows; ESP-IDF: a SHA-256 at its end */
} image_head;

static unsigned running;

static boot_record record_of(unsigned i)
{
    boot_record r;
    memcpy(&r, flash + RECORDS + i * SECTOR, sizeof r);
    return r;
}

static bool record_valid(const boot_record *r)
{
    return r->number != UINT32_MAX && r->crc == cheep_crc32(UINT32_MAX, &r->number, 4) && r->state != INVALID &&
           r->state != ABORTED;
}

static void write_record(unsigned i, uint32_t number, uint32_t mark)
{
    boot_record r;
    memset(&r, 0xFF, sizeof r);
    r.number = number;
    r.state = mark;
    r.crc = cheep_crc32(UINT32_MAX, &r.number, 4);
    change(RECORDS + i * SECTOR, SECTOR, NULL);
    change(RECORDS + i * SECTOR, sizeof r, (const uint8_t *)&r);
}

static int active_record(void)
{
    boot_record a = record_of(0);
    boot_record b = record_of(1);
    bool good_a = record_valid(&a);
    bool good_b = record_valid(&b);
    if (good_a && good_b) {
        return a.number > b.number ? 0 : 1;
    }
    return good_a ? 0 : good_b ? 1 : -1;
}

static bool image_whole(unsigned place, image_head *head)
{
    const uint8_t *at = flash + place * PLACE_BYTES;
    memcpy(head, at, sizeof *head);
    return head->bytes >= sizeof *head && head->bytes <= PLACE_BYTES &&
           head->crc == cheep_crc32(cheep_crc32(0, at, 12), at + sizeof *head, head->bytes - (uint32_t)sizeof *head);
}

/* Which place starts; -1: none. */
static int bootloader(image_head *head)
{
    int i = active_record();
    unsigned place = 0; /* without a record: the first */
    if (i >= 0) {
        boot_record r = record_of((unsigned)i);
        if (r.state == TRIAL) {
            write_record((unsigned)i, r.number, ABORTED);
            return bootloader(head);
        }
        if (r.state == NEW) {
            write_record((unsigned)i, r.number, TRIAL);
        }
        place = (r.number - 1u) % 2u;
    }
    if (image_whole(place, head)) {
        return (int)place;
    }
    return image_whole(1u - place, head) ? (int)(1u - place) : -1;
}

static bool on_trial(void *context)
{
    int i = active_record();
    (void)context;
    return i >= 0 && record_of((unsigned)i).state == TRIAL;
}

static bool can_go_back(void *context)
{
    image_head head;
    int i = active_record();
    (void)context;
    if (i < 0) {
        return false;
    }
    boot_record other = record_of(1u - (unsigned)i);
    return record_valid(&other) && image_whole(1u - running, &head);
}

static cheep_status begin(void *context)
{
    (void)context;
    for (uint32_t i = 0; i < PLACE_BYTES / SECTOR; i++) {
        change((1u - running) * PLACE_BYTES + i * SECTOR, SECTOR, NULL);
    }
    return CHEEP_OK;
}

static cheep_status write_place(void *context, uint32_t offset, const void *data, uint32_t n)
{
    (void)context;
    change((1u - running) * PLACE_BYTES + offset, n, data);
    return CHEEP_OK;
}

static cheep_status read_place(void *context, uint32_t offset, void *data, uint32_t n)
{
    (void)context;
    memcpy(data, flash + (1u - running) * PLACE_BYTES + offset, n);
    return CHEEP_OK;
}

static cheep_status activate(void *context)
{
    int i = active_record();
    (void)context; /* (ESP-IDF checks the image's own hash here, too) */
    /* ESP-IDF: the next number that means the other place, in the record that is not active */
    uint32_t number = i < 0 ? 2u : record_of((unsigned)i).number + 1u;
    number += (number - 1u) % 2u != 1u - running ? 1u : 0u;
    write_record(i < 0 ? 0u : 1u - (unsigned)i, number, NEW);
    return CHEEP_OK;
}

static cheep_status confirm(void *context)
{
    int i = active_record();
    (void)context;
    write_record((unsigned)i, record_of((unsigned)i).number, VALID);
    return CHEEP_OK;
}

static bool restarts;

static void go_back(void *context)
{
    int i = active_record();
    (void)context;
    write_record((unsigned)i, record_of((unsigned)i).number, INVALID);
    restarts = true;
}

static const cheep_places places = {NULL,       PLACE_BYTES, on_trial, can_go_back, begin,
                                    write_place, read_place,  activate, confirm,     go_back};

static uint32_t make_image(uint8_t *image, uint32_t version, bool passes)
{
    image_head head = {version, passes, (uint32_t)sizeof(image_head) + 500u + draw(PLACE_BYTES - 600u), 0};
    for (uint32_t i = 0; i < head.bytes; i++) {
        image[i] = (uint8_t)draw(256);
    }
    memcpy(image, &head, 12);
    head.crc = cheep_crc32(cheep_crc32(0, image, 12), image + sizeof head, head.bytes - (uint32_t)sizeof head);
    memcpy(image, &head, sizeof head);
    return head.bytes;
}

static uint32_t stays, confirmed, tried, went_back; /* version that must not be lost; counts */

/* Start until an application listens; it does. */
static uint32_t start(void)
{
    for (unsigned i = 0;; i++) {
        image_head head;
        REQUIRE(i < 6u); /* it listens after a few starts */
        int place = bootloader(&head);
        REQUIRE(place >= 0);
        running = (unsigned)place;
        restarts = false;
        cheep_update_boot(&places, head.passes == 1u);
        if (!restarts && head.passes == 1u) {
            return head.version;
        }
        REQUIRE(restarts); /* a bad one has another to go back to */
        went_back++;
    }
}

static void use_update(void)
{
    static uint8_t image[PLACE_BYTES];
    for (;;) {
        uint32_t version = start();
        REQUIRE(version >= stays); /* never back behind a confirmed one */
        if (!on_trial(NULL)) {
            confirmed += version > stays ? 1u : 0u;
            stays = version;
        }
        bool passes = draw(3) != 0u;
        uint32_t bytes = make_image(image, version + 1u, passes);
        cheep_update_order order = {bytes, cheep_crc32(0, image, bytes), "https://x"};
        bool damaged = draw(8) == 0u;
        cheep_update u;
        tried++;
        REQUIRE(cheep_update_begin(&u, &places, &order) == CHEEP_OK);
        image[draw(bytes)] ^= damaged ? 1u : 0u;
        cheep_status status = CHEEP_OK;
        for (uint32_t at = 0; at < bytes && status == CHEEP_OK;) {
            uint32_t n = 1u + draw(700);
            n = n < bytes - at ? n : bytes - at;
            status = cheep_update_write(&u, image + at, n);
            at += n;
        }
        REQUIRE(status == CHEEP_OK);
        status = cheep_update_finish(&u);
        REQUIRE(status == (damaged ? CHEEP_ERROR_CORRUPT : CHEEP_OK));
        REQUIRE(cheep_update_write(&u, image, 1) == CHEEP_ERROR_ARGUMENT);
        if (!damaged) {
            uint32_t now = start();
            REQUIRE(now == (passes ? version + 1u : version));
            stays = now;
        }
    }
}

static void test_update(uint64_t wanted)
{
    memset(flash, 0xFF, sizeof flash);
    (void)make_image(flash, 1, true);
    write_record(0, 1, VALID);
    stays = 1;
    (void)setjmp(power);
    if (cuts < wanted) {
        until_cut = 1u + draw(cuts % 3u == 0u ? 8u : 150u);
        use_update();
    }
    until_cut = 0;
    REQUIRE(start() >= stays);
    printf("{\"cuts\":%llu,\"tried\":%u,\"version\":%u,\"went_back\":%u}\n", (unsigned long long)cuts, tried, stays, went_back);
    REQUIRE(stays > 1u && went_back > 0u);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        return 2;
    }
    state = strtoull(argv[3], NULL, 10) * 2u + 1u;
    uint64_t wanted = strtoull(argv[2], NULL, 10);
    if (strcmp(argv[1], "queue") == 0) {
        test_queue(wanted);
    } else {
        test_update(wanted);
    }
    return 0;
}
