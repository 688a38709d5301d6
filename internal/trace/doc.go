// Package trace follows tasks through the processes with OpenTelemetry: a span for each API request, one for each attempt, one for
// each call that an attempt makes. It is off unless an endpoint is configured, and costs nothing then: whoever could open a span
// holds a nil port.
//
// # How a trace stays one
//
// The context of the request that submitted a task is written as a W3C traceparent into the head of the task's stored body, which
// travels in the message through NSQ and is read from the database when it does not. The span of each attempt, wherever it runs, is a child
// of the submitting one; the calls of the kinds http and callback carry the traceparent of theirs, unless the task's payload
// sets one of its own.
//
// # Decisions
//
//   - Sampling is decided once, by the request (its caller's decision holds; else the configured share of requests), and kept with
//     the task. A request that was not sampled and had no caller that decides leaves nothing in its tasks: the bytes are saved, and a
//     worker then samples attempts by the same share, as it does for tasks of schedules.
//   - Bells, claims and commits carry many tasks of many traces each; a span of theirs would belong to nobody. What a task waited
//     for them stands in the span of its attempt: taskweir.wait_ms.
//   - Spans leave in batches on their own goroutine, over OTLP and HTTP; when the collector is away they are dropped, with a line in the
//     log a minute, and nothing else is slower for it.
//   - No payload, header, query string or credential is ever an attribute.
package trace
