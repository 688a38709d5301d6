package failpoint

// Point is a place where a fault can be put.
type Point uint8

// The points, in the order in which a task passes them.
const (
	SubmitAnswer    Point = iota // a submit is committed, the answer of the database is lost
	SubmitCommitted              // a submit is committed, its callers are answered, its bells are not rung
	RingPublish                  // bells are about to be published
	ClaimTx                      // inside a claim's transaction, its rows are locked
	ClaimAnswer                  // a claim is committed, the answer of the database is lost
	ClaimCommitted               // a claim is committed, its messages are not answered, none of its tasks runs
	ClaimRun                     // a task's handler is about to be called, after the last look at its context
	RunEffect                    // a handler has returned, its end is not handed over
	FinishAnswer                 // a finish is committed, the answer of the database is lost
	FinishCommitted              // a finish is committed, nobody has heard of it
	DBExec                       // any statement of the database's driver
	DBCommit                     // any COMMIT of the database's driver
	DBClock                      // this process reads the database's clock

	count = iota
)

// names are the points as the control server calls them.
var names = [count]string{"submit.answer", "submit.committed", "ring.publish", "claim.tx", "claim.answer", "claim.committed", "claim.run",
	"run.effect", "finish.answer", "finish.committed", "db.exec", "db.commit", "clock"}

// String is the name that the control server knows the point by.
func (p Point) String() string {
	if int(p) < len(names) {
		return names[p]
	}
	return "unknown"
}

// Fault is how a point fails. Its zero value is no fault.
type Fault uint8

// The faults. Deadlock and LockWait are answers of MySQL, Busy is SQLite's; a database that has no such answer gives the one
// that is nearest.
const (
	None       Fault = iota
	Deadlock         // the database rolled the transaction back
	LockWait         // a statement waited too long for a lock; the transaction is still open
	Busy             // the database is locked
	LostBefore       // the connection broke before the statement reached the database
	LostAfter        // the statement was done, then the connection broke
)
