/* fc_civil.h - days since 1970 from a date of the Gregorian calendar, and back.
 *
 * Years begin in March here, so that the day a leap year adds is the last of its year, and days are
 * counted from the year 0 in eras of 400 years, which all are equally long (Hinnant, "chrono-
 * compatible low-level date algorithms").  Cost: a few multiplications, no table, no loop. */
#ifndef FC_CIVIL_H
#define FC_CIVIL_H

#include "fc_base.h"

enum {
    FC_ERA_DAYS = 146097,   /* of 400 years */
    FC_EPOCH_DAYS = 719468, /* 1970-01-01 since 0000-03-01 */
    FC_DAY_SECONDS = 86400
};

/* 0001-01-01 and the second after 9999-12-31, in seconds since 1970. */
#define FC_CIVIL_FIRST (-INT64_C(62135596800))
#define FC_CIVIL_END INT64_C(253402300800)

typedef struct fc_civil {
    int year, month, day;
} fc_civil;

/* For years from 1 on. */
FC_INLINE int32_t
fc_civil_days(fc_civil c)
{
    int year = c.year - (c.month <= 2), era = year / 400, of_era = year % 400;
    int of_year = (153 * (c.month + (c.month > 2 ? -3 : 9)) + 2) / 5 + c.day - 1;
    return era * FC_ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - FC_EPOCH_DAYS;
}

/* For days from 0001-01-01 on. */
FC_INLINE fc_civil
fc_civil_of(int32_t days)
{
    fc_civil c;
    int shifted = days + FC_EPOCH_DAYS, era = shifted / FC_ERA_DAYS, of_era = shifted % FC_ERA_DAYS;
    int year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    c.day = of_year - (153 * month + 2) / 5 + 1;
    c.month = month + (month < 10 ? 3 : -9);
    c.year = year + era * 400 + (c.month <= 2);
    return c;
}

#endif
