// Package schedule is the domain of schedules: what a rule says (Definition), which slots it owes at an instant (Plan), whether
// a slot may start while others run (Admit), and what task a slot makes (Shot). It is pure: no clock, no database.
//
// Words. A schedule is a rule that creates tasks. A slot is one planned fire time, a UTC instant; its row in the table slots is
// the trigger: it is inserted in the transaction that creates the task and moves the schedule's next slot on (protocol section
// 3, "Slots of schedules"). Every planned slot has exactly one row, and exactly one task if and only if its outcome is fired.
//
// Look-ahead. Slots of schedules with overlap allow are inserted up to LookAheadMs before their instant, with a task that is due
// at it: the start is then as punctual as that of any delayed task, and does not wait for a poll. Slots of all other schedules
// are decided at the instant, because only then it is known what still runs.
//
// Missed. A slot that nobody inserted until GraceMs after its instant is missed, and the misfire policy decides about it. Up
// to then it fires however late it is: a dead scheduler is replaced well within that time, and a takeover is no misfire.
package schedule
