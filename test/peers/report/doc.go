// Package report puts the rounds of all systems together: medians, what became of the tasks, ratios, and whether Taskweir reaches
// its goals.
//
// Decisions. What is compared is measured in one run, and only ratios are judged. A goal that speaks of the best peer takes, for
// each peer, the best of the ways in which that measure was taken, though ours has only one; a transport is no peer, because it is
// what a task queue is built on. A goal that is not reached stands in the table as it is.
//
// What is published comes from the JSON alone, so that texts and charts can be made again without measuring.
package report
