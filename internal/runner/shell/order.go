package shell

// What worker and supervisor say to each other. The worker writes one order as JSON and a newline to the supervisor's
// standard input and keeps it open; then single bytes. The supervisor writes one report as JSON to file descriptor 3.

// order is what the supervisor is to run.
type order struct {
	Script      string   `json:"script,omitempty"` // written to a file that is removed at the end
	Temp        string   `json:"temp"`             // where that file is
	Interpreter []string `json:"interpreter,omitempty"`
	Argv        []string `json:"argv,omitempty"` // a command, or the script's arguments
	Env         []string `json:"env"`
	Dir         string   `json:"dir"`
}

// report is how it ended.
type report struct {
	Exit   int    `json:"exit"`
	Signal int    `json:"signal,omitempty"`
	Error  string `json:"error,omitempty"` // it was not started
	Lost   string `json:"-"`               // nobody knows: the supervisor itself ended
}

// The bytes that follow the order.
const (
	sayTerm = 'T'
	sayKill = 'K'
)

// A process is a supervisor when both stand: a name that nobody types and a variable that nobody sets by accident.
const (
	supervisorName = "taskweir-shell-supervisor"
	supervisorMark = "TASKWEIR_SHELL_SUPERVISOR=1"
)
