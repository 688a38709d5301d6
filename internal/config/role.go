package config

import "strings"

// Role is what a process is. A set of roles is their sum.
type Role uint8

// The roles. CLI are the commands that talk to the API (tasks, workers, queues); Operator are the commands that talk to
// the dependencies themselves (migrate, doctor).
const (
	API Role = 1 << iota
	Scheduler
	Worker
	Standalone
	CLI
	Operator

	split  = API | Scheduler | Worker
	serves = split | Standalone
)

var roleNames = []struct {
	role Role
	name string
}{{API, "api"}, {Scheduler, "scheduler"}, {Worker, "worker"}, {Standalone, "standalone"}, {CLI, "cli"}, {Operator, "operator"}}

// String gives the names of the roles in the set, separated by commas.
func (r Role) String() string {
	var names []string
	for _, n := range roleNames {
		if r&n.role != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ", ")
}

// Has reports whether the set has any of the other's roles.
func (r Role) Has(other Role) bool { return r&other != 0 }
