/* What is written is what the format says, and what is read is nothing else. */
#include "fc_civil.h"
#include "fc_unpack.h"

#include "check.h"

static fc_alloc alloc = {.fail_after = -1};

static void
begin(fc_pack *p, uint8_t *lent, size_t room)
{
    fc_pack_init(p, lent, room, &alloc);
}

static void
expect(fc_pack *p, const char *bytes, size_t count)
{
    CHECK(!p->failed);
    CHECK(p->size == count);
    CHECK(memcmp(p->data, bytes, count) == 0);
    p->size = 0;
}

#define EXPECT(p, text) expect(p, text, sizeof text - 1)

/* Catches a head that other readers of msgpack do not know, at each border between two forms. */
static void
test_forms_are_those_of_the_format(void)
{
    uint8_t lent[64];
    fc_pack p;
    begin(&p, lent, sizeof lent);
    fc_pack_nil(&p);
    fc_pack_bool(&p, false);
    fc_pack_bool(&p, true);
    fc_pack_double(&p, -2.5);
    EXPECT(&p, "\xc0\xc2\xc3\xcb\xc0\x04\0\0\0\0\0\0");
    fc_pack_int(&p, 127);
    fc_pack_int(&p, 128);
    fc_pack_int(&p, 256);
    fc_pack_int(&p, 65536);
    fc_pack_int(&p, INT64_C(4294967296));
    EXPECT(&p, "\x7f\xcc\x80\xcd\x01\0\xce\0\x01\0\0\xcf\0\0\0\x01\0\0\0\0");
    fc_pack_int(&p, -32);
    fc_pack_int(&p, -33);
    fc_pack_int(&p, -129);
    fc_pack_int(&p, -32769);
    fc_pack_int(&p, INT64_C(-2147483649));
    EXPECT(&p, "\xe0\xd0\xdf\xd1\xff\x7f\xd2\xff\xff\x7f\xff\xd3\xff\xff\xff\xff\x7f\xff\xff\xff");
    fc_pack_str_head(&p, 31);
    fc_pack_str_head(&p, 32);
    fc_pack_str_head(&p, 256);
    fc_pack_str_head(&p, 65536);
    EXPECT(&p, "\xbf\xd9\x20\xda\x01\0\xdb\0\x01\0\0");
    fc_pack_bin_head(&p, 0);
    fc_pack_bin_head(&p, 256);
    fc_pack_bin_head(&p, 65536);
    EXPECT(&p, "\xc4\0\xc5\x01\0\xc6\0\x01\0\0");
    fc_pack_array_head(&p, 15);
    fc_pack_array_head(&p, 16);
    fc_pack_array_head(&p, 65536);
    fc_pack_map_head(&p, 15);
    fc_pack_map_head(&p, 16);
    fc_pack_map_head(&p, 65536);
    EXPECT(&p, "\x9f\xdc\0\x10\xdd\0\x01\0\0\x8f\xde\0\x10\xdf\0\x01\0\0");
    fc_pack_free(&p);
    CHECK(alloc.bytes == 0);
}

/* Catches an extension whose head does not fit its payload once that is known, and lost bytes where
 * the payload moves. */
static void
test_extension_of_any_length_has_the_shortest_head(void)
{
    static const size_t lengths[] = {0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 255, 256, 65535, 65536};
    static const uint8_t heads[] = {0xc7, 0xd4, 0xd5, 0xc7, 0xd6, 0xc7, 0xd7,
                                    0xc7, 0xd8, 0xc7, 0xc7, 0xc8, 0xc8, 0xc9};
    for (size_t i = 0; i < sizeof heads; i++) {
        uint8_t lent[8];
        fc_pack p, q;
        fc_unpack r;
        fc_read t;
        size_t start;
        begin(&p, lent, sizeof lent);
        fc_pack_nil(&p);
        start = fc_pack_open(&p);
        for (size_t j = 0; j < lengths[i]; j++) {
            uint8_t byte = (uint8_t)(j * 7 + j / 256);
            fc_pack_raw(&p, &byte, 1);
        }
        CHECK(fc_pack_close(&p, start, 9));
        fc_pack_nil(&p);
        CHECK(!p.failed && p.data[1] == heads[i]);
        fc_unpack_init(&r, p.data, p.size);
        r.owed = 3;
        CHECK(fc_unpack_next(&r, &t) == FC_NULL);
        CHECK(fc_unpack_next(&r, &t) == FC_EXT);
        CHECK(t.code == 9 && t.count == lengths[i]);
        for (size_t j = 0; j < lengths[i]; j++) {
            CHECK(t.data[j] == (uint8_t)(j * 7 + j / 256));
        }
        /* One whose length is known beforehand is the same. */
        begin(&q, NULL, 0);
        memcpy(fc_pack_ext(&q, t.count, 9), t.data, t.count);
        CHECK(memcmp(q.data, p.data + 1, q.size) == 0);
        CHECK(fc_unpack_next(&r, &t) == FC_NULL && r.at == r.stop && r.owed == 0);
        fc_pack_free(&p);
        fc_pack_free(&q);
        CHECK(alloc.bytes == 0);
    }
}

/* Catches a failed allocation that is forgotten, or written behind. */
static void
test_failed_allocation_is_remembered(void)
{
    for (int fail = 0; fail < 4; fail++) {
        uint8_t lent[4];
        fc_pack p;
        begin(&p, lent, sizeof lent);
        alloc.fail_after = fail;
        for (int i = 0; i < 40; i++) {
            size_t start = fc_pack_open(&p);
            fc_pack_int(&p, INT64_C(1) << i);
            fc_pack_raw(&p, "0123456789", 10);
            (void)fc_pack_ext(&p, 5, 1);
            CHECK(fc_pack_close(&p, start, 2));
        }
        CHECK(p.failed);
        alloc.fail_after = -1;
        fc_pack_int(&p, 1);
        CHECK(p.failed);
        fc_pack_free(&p);
        CHECK(alloc.bytes == 0);
    }
}

static fc_kind
kind_of(const char *bytes, size_t count)
{
    fc_unpack r;
    fc_read t;
    fc_kind kind;
    uint8_t *copy = malloc(count + !count); /* so that ASan sees a byte too far */
    memcpy(copy, bytes, count);
    fc_unpack_init(&r, copy, count);
    kind = fc_unpack_next(&r, &t);
    CHECK((kind == FC_BAD) == (r.wrong != NULL));
    CHECK(r.at <= r.stop);
    free(copy);
    return kind;
}

#define KIND(text) kind_of(text, sizeof text - 1)

/* Catches two forms of one value: what is read must be what was written. */
static void
test_longer_form_than_needed_is_refused(void)
{
    CHECK(KIND("\xcc\x80") == FC_INT && KIND("\xcc\x7f") == FC_BAD);
    CHECK(KIND("\xcd\x01\0") == FC_INT && KIND("\xcd\0\xff") == FC_BAD);
    CHECK(KIND("\xce\0\x01\0\0") == FC_INT && KIND("\xce\0\0\xff\xff") == FC_BAD);
    CHECK(KIND("\xcf\0\0\0\x01\0\0\0\0") == FC_INT);
    CHECK(KIND("\xcf\0\0\0\0\xff\xff\xff\xff") == FC_BAD);
    CHECK(KIND("\xcf\x80\0\0\0\0\0\0\0") == FC_UINT);
    CHECK(KIND("\xd0\xdf") == FC_INT && KIND("\xd0\xe0") == FC_BAD && KIND("\xd0\x01") == FC_BAD);
    CHECK(KIND("\xd1\xff\x7f") == FC_INT && KIND("\xd1\xff\x80") == FC_BAD);
    CHECK(KIND("\xd2\xff\xff\x7f\xff") == FC_INT && KIND("\xd2\xff\xff\x80\0") == FC_BAD);
    CHECK(KIND("\xd3\xff\xff\xff\xff\x7f\xff\xff\xff") == FC_INT);
    CHECK(KIND("\xd3\xff\xff\xff\xff\x80\0\0\0") == FC_BAD);
    CHECK(KIND("\xd3\0\0\0\0\0\0\0\x01") == FC_BAD);
    CHECK(KIND("\xd9\x01x") == FC_BAD && KIND("\xda\0\x01x") == FC_BAD);
    CHECK(KIND("\xc4\x01x") == FC_BIN && KIND("\xc5\0\x01x") == FC_BAD);
    CHECK(KIND("\xc7\x01\x05x") == FC_BAD && KIND("\xd4\x05x") == FC_EXT);
    CHECK(KIND("\xc8\0\x03\x05xyz") == FC_BAD && KIND("\xc7\x03\x05xyz") == FC_EXT);
    CHECK(KIND("\xdc\0\x01\xc0") == FC_BAD && KIND("\xde\0\x01\xc0\xc0") == FC_BAD);
    CHECK(KIND("\xc1") == FC_BAD && KIND("\xca\0\0\0\0") == FC_BAD && KIND("") == FC_BAD);
}

/* Catches a length or a count that is believed before it is compared with what is there. */
static void
test_length_beyond_the_end_is_refused(void)
{
    CHECK(KIND("\xa1") == FC_BAD && KIND("\xd9\x20x") == FC_BAD &&
          KIND("\xdb\xff\xff\xff\xff") == FC_BAD);
    CHECK(KIND("\xc4\x01") == FC_BAD && KIND("\xc6\xff\xff\xff\xff") == FC_BAD &&
          KIND("\xc6") == FC_BAD);
    CHECK(KIND("\xd8\x01x") == FC_BAD && KIND("\xc9\xff\xff\xff\xff\x01") == FC_BAD);
    CHECK(KIND("\xd4") == FC_BAD && KIND("\xc7\x03") == FC_BAD && KIND("\xcb\0") == FC_BAD);
    CHECK(KIND("\x91") == FC_BAD && KIND("\x91\xc0") == FC_ARRAY);
    CHECK(KIND("\xdd\xff\xff\xff\xff\xc0") == FC_BAD && KIND("\xdf\xff\xff\xff\xff\xc0") == FC_BAD);
    CHECK(KIND("\x81\xc0") == FC_BAD && KIND("\x81\xc0\xc0") == FC_MAP);
}

/* Catches containers that each promise all the bytes there are: 200 of them, one in the other, would
 * ask for 200 times the memory. */
static void
test_nested_counts_never_promise_more_than_there_is(void)
{
    enum { SIZE = 100000 };
    static uint8_t data[SIZE];
    uint64_t promised = 0;
    fc_unpack r;
    fc_read t;
    for (int i = 0; i < 40; i++) {
        data[5 * i] = 0xdd;
        fc_store_be(data + 5 * i + 1, 66000, 4);
    }
    fc_unpack_init(&r, data, SIZE);
    while (fc_unpack_next(&r, &t) == FC_ARRAY) {
        promised += t.count;
    }
    CHECK(promised == 66000 && strcmp(r.wrong, "a count goes beyond its end") == 0);
}

/* Catches a read past the end, or a walk that does not end, on bytes nobody wrote. */
static void
test_noise_is_read_to_its_end_or_refused(void)
{
    uint64_t state = 88172645463325252;
    for (int round = 0; round < 200000; round++) {
        size_t count = random_below(&state, 24), steps = 0;
        uint8_t *data = malloc(count + 1);
        fc_unpack r;
        fc_read t;
        for (size_t i = 0; i < count; i++) {
            data[i] = (uint8_t)random_below(&state, 256);
        }
        data = realloc(data, count + !count);
        fc_unpack_init(&r, data, count);
        while (fc_unpack_next(&r, &t) != FC_BAD) {
            CHECK(r.at <= r.end && r.end <= r.stop && ++steps <= count);
            if (t.kind == FC_EXT && t.count > 0 && random_below(&state, 2)) {
                const uint8_t *end = fc_unpack_enter(&r, &t);
                CHECK(end <= r.stop && r.end <= end);
                steps -= steps > 0;
                if (fc_unpack_next(&r, &t) == FC_BAD || !fc_unpack_leave(&r, end)) {
                    break;
                }
            }
        }
        free(data);
    }
}

/* Catches a leap year that is none, and a month or era that begins a day off. */
static void
test_days_count_on_through_all_years(void)
{
    static const int months[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int32_t days = (int32_t)(FC_CIVIL_FIRST / FC_DAY_SECONDS);
    for (int year = 1; year <= 9999; year++) {
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= months[month - 1] + (leap && month == 2); day++, days++) {
                fc_civil c = fc_civil_of(days);
                CHECK(c.year == year && c.month == month && c.day == day);
                CHECK(fc_civil_days(c) == days);
            }
        }
    }
    CHECK(days == FC_CIVIL_END / FC_DAY_SECONDS);
    CHECK(fc_civil_days((fc_civil){1970, 1, 1}) == 0);
}

/* Catches a bound that lets one container more through, or forgets those before it. */
static void
test_containers_are_bounded_by_the_bytes(void)
{
    uint8_t data[10] = {0};
    fc_unpack r;
    fc_unpack_init(&r, data, sizeof data);
    CHECK(fc_unpack_pay(&r, FC_COST_FREE));
    CHECK(fc_unpack_pay(&r, 100));
    CHECK(!fc_unpack_pay(&r, 61));
    CHECK(r.wrong != NULL);
    CHECK(fc_unpack_pay(&r, 60));
    CHECK(!fc_unpack_pay(&r, 1));
}

int
main(void)
{
    test_forms_are_those_of_the_format();
    test_extension_of_any_length_has_the_shortest_head();
    test_failed_allocation_is_remembered();
    test_longer_form_than_needed_is_refused();
    test_length_beyond_the_end_is_refused();
    test_nested_counts_never_promise_more_than_there_is();
    test_noise_is_read_to_its_end_or_refused();
    test_days_count_on_through_all_years();
    test_containers_are_bounded_by_the_bytes();
    return 0;
}
