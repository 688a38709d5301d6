// Package stack takes the stacks of goroutines that carry a pprof label, while they run.
//
// It reads the goroutine profile, which the runtime collects with two short stops of the world and everything else beside
// the running program; only goroutines that were labelled are symbolised. Nothing is prepared while a program does not ask:
// the labels are what the profile has anyway. With 256 labelled goroutines one look takes about 2 ms of one processor, with
// 5,000 about 35 ms, so whoever offers looks to others joins those that come together.
//
// The profile does not say what a goroutine waits for. It is told from the frames of the runtime at its inner end, which are
// left out of the stack: a reader looks for his own code, and what he calls "waiting for the network" is five frames of the
// scheduler and the poller there.
package stack
