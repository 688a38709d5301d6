// Package cron tells when schedules fire: from an instant it gives the next fire. It knows no clock and no storage, and holds
// every rule about time that schedules have. The sentences under "Rules" are the ones that docs/schedules.md quotes and the tests
// check.
//
// # Why our own
//
// The usual library, robfig/cron, has neither years nor L, W and #, numbers days from Sunday=0 only, looks no further than five
// years ahead (so never finds a 29 February that is a Monday), and leaves fires out when the clock is set forward. Quartz's own
// reading of W, L-n, steps and ranges that wrap has to be met exactly anyhow, so everything here is compared with the real one.
//
// # Dialects
//
// An expression of five fields is read as crontab reads it: minute, hour, day-of-month, month, day-of-week. There are lists,
// ranges, steps (a/n goes from a to the end of the field) and English names of three letters; Sunday is 0 and 7. A range may not
// end before it begins, but FRI-SUN means 5-7. The step of a range that has no written end is limited to the field: 59, 59, 23, 31,
// 12, 7, as in Quartz; */90 minutes would run hourly, and @every 90m is what is meant. When both day-of-month and day-of-week are
// restricted, one of them is enough: "0 0 13 * FRI" fires on each 13th and on each Friday. A field that begins with * does not
// restrict, as in Debian's cron: "0 0 */2 * FRI" fires on odd days that are Fridays; 1-31 does restrict.
//
// An expression of six or seven fields is read as Quartz 2.3.2 reads it, and fires when Quartz fires. What it refuses is refused.
// What Quartz accepts although it reads something else than what is written is refused too: parts that Quartz passes over
// ("MONDAY-FRIDAY" is MON to it, "5X" is 5), a list with W or # of which only one item counts, a step of 0, signs, 98 and 99 (its
// own codes for ? and *), numbers out of range where it does not look, empty places in lists. The list stands in quartz_test.go,
// and the real one proves each entry. Three things are different by choice. Years end with 2199 instead of a hundred years
// after the process was started. L-28W to L-30W skip months that are too short, where Quartz searches for ever. 29W and 30W in a
// February without that day: Quartz's answer depends on where its search began; ours is the one it gives when it comes from the
// last fire. A Quartz habit that is kept: nW skips a month that has no day n, but if the first of the next month would be that
// day and is a Saturday, it fires on the Friday, the last day of the month (31W on 30 April 2027).
//
// @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly stand for five fields; "@every 1h30m" is an interval.
//
// # Intervals
//
// An interval fires at its anchor and at whole multiples before and after it; without an anchor, at whole multiples since
// 1970-01-01 00:00 UTC. It never depends on when a process was started or a schedule saved, and knows no zones.
//
// # Rules for changes of the clock
//
// A schedule's clock is that of its zone. When it is set forward, some wall times do not exist on that day (the gap); when it is
// set back, some occur twice (the overlap). Every change of a zone's offset counts, also one that is no summer time, of half an
// hour, at midnight, or of a whole day.
//
//  1. Fixed hours. An expression whose hour field names hours (5, 1-3, 9,17, 8-18/2, 0-22/2) follows the choices of the schedule.
//  2. Gap shift: what falls into the gap fires later by the length of the gap: 02:30 becomes 03:30, at the instant that 02:30
//     would have been had the clock not been changed. If something else fires at that instant, both are one fire.
//  3. Gap skip: what falls into the gap does not fire on that day.
//  4. Overlap first, second, both: what occurs twice fires at the first, at the second, at both.
//  5. Every hour. An expression whose hour field contains * or a step over the whole day (*, */n, /n, 0/n, 0-23, 0-23/n) follows
//     the time that passes, whatever the choices are: it fires at each instant at which the clock shows a time that it names. So
//     "*/5 * * * *" fires every five minutes through both changes, and "30 * * * *" once every hour. Hours that the clock does not
//     show that day are left out, and hours that it shows twice fire twice: in Berlin "0 */2 * * *" fires in spring at 00:00 and
//     04:00, in autumn at 00:00, 02:00, 02:00 and 04:00. Who wants the choices to act on it names the hours: 0-22/2.
//  6. Fires come in the order of time, each instant once.
//
// # How
//
// A zone is read once into the list of its changes. Next looks for the next wall time field by field (years, months, the days of
// one month as a set of bits, then the time of day), between two changes at a time. It never walks along seconds or days: the
// rarest expressions look at a few hundred months. Zones come from the system's tz database if there is one and else from the
// one in the binary; all schedulers of a cluster should have the same release of it.
package cron
