// Package system is the platform's own periodic work: the schedules of the system app, and the runners of their kinds.
//
// The work is scheduled like anybody's, so that nothing of it is hidden in a loop of some process: an operator sees when it ran,
// how long it took and what it did, can pause it, trigger it now, and is told by the usual means when it fails. It runs on
// workers, in the queue task.SystemQueue that each of them serves.
//
//	schedule  kind            each    does
//	purge     system.purge    5 min   deletes ended tasks, slots of schedules, figures, and entries of the audit trail whose time is over
//	rollup    system.rollup   1 min   sums the writers' rows of closed minutes of the statistics
//
// None of them overlaps itself (policy skip), none is retried (the next slot is the retry), and of slots that were missed the
// newest runs.
//
// # The purge
//
// What is old stands in front: a quick walk from the smallest id finds it and ends when it has found nothing for a while. Since
// kept tasks can stand before old ones in any number, each run also looks at one of 288 slices of all tasks, that of the time of
// day: in a day it has looked at all of them, without remembering anything. A run ends after 4 minutes, wherever it is; the next
// one goes on. Its pace follows the load: a step that finds much halves the pause before the next one, a step that finds little
// doubles it, between 5,000 and 50,000 rows a second. And it rests for as long as each step took, as bulk operations do: a delete
// costs about what the insert did, so that a purge that only paused would take as much of a busy database as all submits. A
// step takes longer there, so the purge makes room by itself, and catches up when the others rest.
//
// What cannot be deleted is stepped over, so that one row never keeps all others for ever; the next run tries it again.
package system
