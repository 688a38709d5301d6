// Package nsqpeer is the adapter of bare NSQ, a transport and no task queue: it shows what the transport that Taskweir uses can
// do at most.
//
// Decisions. nsqd keeps messages in memory and forgets who has finished what, so this is not durable and has no record: tasks
// count as ended when their handler has returned, and the FIN is still on its way. Several at once are an MPUB, delayed ones a
// DPUB each. There is no cancel.
//
// Consumers switch off nsqd's output buffer (output_buffer_size -1), as Taskweir does; the stock setting waits up to 250 ms.
// On hold the consumer is stopped and a new one is made for the next turn. Reset deletes the topic; its channel is made at
// once again, so that everything waits there in the same way.
package nsqpeer
