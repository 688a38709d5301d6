// Package control holds the use cases of people and API clients: the single place where a verb gets its meaning. Every
// HTTP surface decodes, calls one method here and renders; no surface decides.
//
// # Who may do what
//
// A Principal is an app with a scope, from Service.Authenticate. Scopes are ordered, read < submit < manage < admin, and
// each use case names the one it needs: reading needs read; submitting, cancelling, retrying and pulling forward one's own
// tasks needs submit; abandoning zombies, declaring kinds, pausing queues and draining workers needs manage; apps and keys
// need admin. A principal sees its own app; only an admin acts on another one (ForApp), and another app's id is never told
// apart from an unknown one.
//
// # Submitting
//
// An Input is checked whole, so that every broken rule is named at once, and becomes a task.Submission. Submissions gather
// in a group committer (package flush); one flush is one transaction, in which requests that meet in a key are settled in order. A
// transaction that fails for good is halved until the guilty task is alone, and only its caller hears of it. After the commit every caller is answered, then the bells are
// rung with what is in memory, so that a worker need not read what was just written.
//
// A batch larger than a flush takes several transactions. The idempotency key is written, with the ids of all items, by
// the first one that creates a task; a replay submits the items whose row is missing.
//
// A request that breaks a rule which depends on the clock (expiresAt has passed) may be the replay of one that did not:
// with an idempotency key the key is looked up before the request is refused.
//
// # Waiting
//
// All callers that wait for tasks share one poller per process: one query for all of them each 50 ms, and none while
// nobody waits. A worker in the same process says what it finished (Service.Finished) and spares the poll.
package control
