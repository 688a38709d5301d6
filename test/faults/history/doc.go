// Package history holds what happened in a run of the fault harness and checks it.
//
// A History is written by three witnesses that do not know of each other: the clients (Ops: what was asked and what was
// answered), the sink (Effects: what the tasks did to the outside world), and the database with the API when all is quiet
// (End: what Taskweir says happened). The harness adds what it did itself (Faults, Processes) and how well the clocks are
// known (Clock). Check looks for contradictions between them; each rule it knows is a Rule, and a Violation names it.
//
// Decisions.
//   - All times are time.Duration of the harness's own monotonic clock since its start, so that a step of the machine's clock
//     changes nothing. Times that the database stored are kept as it stored them (milliseconds of its clock) and related to the
//     harness's clock by Clock, which is measured during the run and carries its error: a rule that compares the two says
//     "violated" only beyond the error, and counts what lies within it apart.
//   - An answer that never came is not a refusal: an Op whose outcome is unknown may or may not have happened, at most once.
//   - Nothing is explained by "there were faults": a fault explains an event only when it touched the worker, or the part of the
//     system, that the event names, and only near that time (Fault.Workers, Fault.Parts).
package history
