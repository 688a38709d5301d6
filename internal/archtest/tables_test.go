package archtest

// internalImports says which of our packages a package may import; a package that is not listed may not exist. "app" may import
// everything. Test files may import more.
var internalImports = map[string]string{
	// The domain and what is pure.
	"internal/task":      "",
	"internal/metrics":   "",
	"internal/dbclock":   "",
	"internal/cron":      "",
	"internal/message":   "internal/task",
	"internal/procstat":  "",
	"internal/failpoint": "",
	"internal/stack":     "internal/task",
	"internal/schedule":  "internal/task internal/cron",
	"migrations":         "",
	"pkg/apiv1":          "",
	"pkg/client":         "pkg/apiv1",
	"pkg/signature":      "",

	// Doors for strangers. A worker of theirs is the engine with everything around it, so that is what it opens.
	"pkg/worker":            "internal/app internal/config internal/runner/shell internal/task internal/worker pkg/apiv1",
	"pkg/worker/workertest": "internal/task internal/worker pkg/worker",

	// The use cases: ports, no technologies.
	"internal/bell":      "internal/task internal/metrics",
	"internal/flush":     "internal/task internal/metrics",
	"internal/events":    "internal/task",
	"internal/control":   "internal/task internal/metrics internal/failpoint internal/events internal/flush internal/schedule internal/cron",
	"internal/scheduler": "internal/task internal/metrics internal/bell internal/schedule",
	"internal/worker":    "internal/task internal/metrics internal/failpoint internal/stack",

	// One adapter a technology. Some implement a port whose types their owner declares.
	"internal/sqldb":      "internal/task internal/metrics internal/failpoint internal/dbclock internal/schedule migrations",
	"internal/nsqbus":     "internal/task internal/metrics internal/failpoint internal/message internal/worker",
	"internal/nsqembed":   "",
	"internal/rdb":        "internal/task internal/metrics internal/events",
	"internal/redisembed": "",
	"internal/outbound":   "",
	"internal/trace":      "internal/task internal/worker",
	"internal/secret":     "",

	"internal/runner/payload":  "internal/task",
	"internal/runner/basic":    "internal/task internal/worker internal/runner/payload",
	"internal/runner/shell":    "internal/task internal/worker internal/runner/payload",
	"internal/runner/system":   "internal/task internal/worker internal/runner/payload internal/schedule internal/cron",
	"internal/runner/httpcall": "internal/task internal/worker internal/runner/payload internal/outbound internal/metrics pkg/signature",

	// Surfaces.
	"internal/httpkit":            "internal/task internal/metrics pkg/apiv1",
	"internal/rest":               "internal/task internal/control internal/events internal/schedule internal/httpkit pkg/apiv1",
	"internal/openapi":            "internal/httpkit pkg/apiv1",
	"internal/compat":             "internal/task internal/httpkit",
	"internal/compat/serendipity": "internal/task internal/control internal/httpkit internal/compat internal/worker internal/runner/httpcall",
	"internal/compat/goodjob":     "internal/task internal/control internal/httpkit internal/compat internal/worker internal/runner/httpcall",
	"internal/cli":                "internal/config internal/doctor pkg/apiv1 pkg/client",

	"internal/config": "",
	"internal/doctor": "internal/config",
	"internal/bench":  "internal/app internal/config internal/control internal/task internal/worker internal/procstat pkg/apiv1",

	// The composition root sees everything.
	"internal/app":  "*",
	"cmd/api":       "internal/app internal/config",
	"cmd/scheduler": "internal/app internal/config",
	"cmd/worker":    "internal/app internal/config",
	"cmd/taskweir":  "internal/app internal/config internal/cli internal/bench",

	// Tests' own.
	"internal/failpoint/control":       "internal/failpoint",
	"internal/archtest":                "",
	"internal/testkit":                 "",
	"internal/testkit/cmd/testrun":     "internal/testkit",
	"internal/testkit/cmd/cluster":     "internal/testkit",
	"internal/testkit/cmd/listenbench": "internal/testkit internal/procstat",
	"internal/testkit/cmd/benchrun":    "internal/testkit internal/bench internal/procstat",
	"internal/testkit/cmd/growth":      "internal/testkit internal/bench internal/procstat internal/task",
	"internal/sqldb/sqldbtest":         "internal/sqldb internal/task",
	"internal/e2e":                     "internal/testkit",
	"internal/modelcheck":              "internal/sqldb internal/task internal/testkit internal/worker",
	"internal/compat/compattest":       "internal/procstat",
}

// core are the packages that know no technology.
var core = []string{
	"internal/task", "internal/failpoint", "internal/control", "internal/worker", "internal/scheduler", "internal/bell", "internal/events", "internal/flush", "internal/message", "internal/dbclock", "internal/cron",
}

// notInCore are standard packages that are technologies too.
var notInCore = []string{"net", "net/http", "database/sql", "os/exec", "os/signal"}

// libraries says which packages may import a third-party library: one, but for libraries that are no technology.
var libraries = map[string]string{
	"github.com/gin-gonic/gin":            "internal/httpkit",
	"gorm.io":                             "internal/sqldb",
	"modernc.org/sqlite":                  "internal/sqldb",
	"github.com/go-sql-driver/mysql":      "internal/sqldb internal/sqldb/sqldbtest",
	"github.com/redis/go-redis":           "internal/rdb",
	"github.com/alicebob/miniredis":       "internal/redisembed",
	"github.com/nsqio/go-nsq":             "internal/nsqbus",
	"github.com/nsqio/nsq":                "internal/nsqembed",
	"github.com/prometheus/client_golang": "internal/metrics",
	"github.com/spf13/viper":              "internal/config",
	"go.yaml.in/yaml":                     "internal/config",
	"github.com/spf13/pflag":              "internal/config internal/cli internal/app",
	"github.com/spf13/cobra":              "internal/cli",
	"go.opentelemetry.io":                 "internal/trace",
	"golang.org/x/sys":                    "internal/app internal/runner/shell",
	"golang.org/x/term":                   "internal/cli",
}

// calls are functions with one place, or with a list of files that have a reason.
var calls = []struct {
	name string
	// where lists the folders that may call it.
	where []string
	// files may call it too, each for a reason.
	files   map[string]string
	instead string
}{
	{
		name: "os.Exit syscall.Exit", where: []string{"cmd/", "internal/testkit/cmd/"},
		files: map[string]string{
			"internal/runner/shell/supervise_unix.go": "is the main function of the supervisor, which is this program started again",
		},
		instead: "give an error to the caller; main exits",
	},
	{
		name: "log.Fatal*", instead: "give an error to the caller; main exits",
	},
	{
		name: "os.Getenv os.LookupEnv os.Environ", where: []string{"cmd/", "internal/testkit/", "internal/sqldb/sqldbtest/"},
		files: map[string]string{
			"internal/runner/shell/run_unix.go":       "commands get PATH and the like of this process",
			"internal/runner/shell/supervise_unix.go": "the supervisor is told by its environment that it is one",
			"pkg/worker/run.go":                       "is called by a stranger's main in place of ours; Environ takes its place",
		},
		instead: "take it from config.Config",
	},
	{
		name: "fmt.Print*", where: []string{"cmd/", "internal/testkit/cmd/"},
		instead: "log, or write to the io.Writer that was passed in",
	},
	{
		name: "slog.SetDefault slog.Debug* slog.Info* slog.Warn* slog.Error*", instead: "take a *slog.Logger",
	},
	{
		name: "time.Sleep", where: []string{"internal/testkit/"},
		instead: "wait for an event, or for a timer together with a context",
	},
}

// wallClock are the files, or folders, that may call time.Now. A time that is stored, or compared with a stored one, comes from
// dbclock. All others measure how long something takes inside this process, on Go's monotonic clock; that such a reading never
// becomes a number or a text is what instants is for.
var wallClock = map[string]string{
	"internal/dbclock/clock.go": "is the clock: measures the offset between this machine and the database",

	"internal/app/lifecycle.go":            "the deadline of an end",
	"internal/bench/":                      "measures this process",
	"internal/compat/compattest/":          "measures this process",
	"internal/cli/top.go":                  "how long two looks are apart",
	"internal/control/legacy.go":           "age of a remembered signer",
	"internal/control/principal.go":        "age of a cached credential",
	"internal/control/streams.go":          "how often a second workers are asked",
	"internal/control/events.go":           "when a stream looks again",
	"internal/control/output.go":           "when a log is looked at again",
	"internal/rest/events.go":              "age of a stream",
	"internal/events/":                     "how long ago Redis was looked at",
	"internal/control/verdict.go":          "age of a cached list",
	"internal/doctor/nsqd.go":              "how long a server took to answer",
	"internal/doctor/redis.go":             "how long a server took to answer",
	"internal/httpkit/":                    "how long a request took, age of a cached health",
	"internal/nsqbus/feed.go":              "age of a connection",
	"internal/nsqbus/grumble.go":           "how often a line may be logged",
	"internal/nsqbus/node.go":              "age of a connection",
	"internal/trace/trace.go":              "when dropped spans were last logged",
	"internal/rdb/breaker.go":              "how long the breaker stays open",
	"internal/rdb/nonces.go":               "life of nonces kept in memory while Redis is gone",
	"internal/redisembed/redisembed.go":    "advances the embedded server's clock by what has passed",
	"internal/outbound/idle.go":            "how long a connection was idle",
	"internal/runner/httpcall/callback.go": "age of a cached target",
	"internal/runner/httpcall/endpoint.go": "how long a call took, how long an endpoint is left alone",
	"internal/runner/httpcall/gate.go":     "age of what is known of an endpoint",
	"internal/runner/httpcall/probe.go":    "how long a call took",
	"internal/runner/shell/":               "deadline of a pipe",
	"internal/runner/system/purge.go":      "how long a step took",
	"internal/scheduler/":                  "pauses, leases and unanswered bells are measured by what has passed here; due times by the port's clock",
	"internal/sqldb/bells.go":              "age of a cached table",
	"internal/sqldb/ids.go":                "age of a block of ids",
	"internal/sqldb/limits.go":             "age of a cached table",
	"internal/sqldb/list.go":               "how long a request has read",
	"internal/sqldb/loose.go":              "age of a known plan",
	"internal/sqldb/probe.go":              "how long the server took to answer",
	"internal/worker/mono.go":              "is the worker's monotonic clock",
	"internal/testkit/":                    "how long programs take",
	"pkg/worker/workertest/kit.go":         "is the clock of tests without a database",
	"pkg/client/":                          "how long requests, waits and silences last",
}

// instants are the files that may turn a time into a number or a text, each for a reason.
var instants = map[string]string{
	"internal/dbclock/clock.go":            "is the clock",
	"internal/app/demo.go":                 "shows instants of the server to people",
	"internal/control/verdict.go":          "says in words when a task is due",
	"internal/cron/zone.go":                "reads when a zone's clocks are changed",
	"internal/cli/clock.go":                "shows instants and ages of the server to people",
	"internal/cli/print.go":                "shows instants of the server to people",
	"internal/runner/httpcall/call.go":     "reads a Retry-After date",
	"internal/sqldb/completion.go":         "writes instants of a task into what a completion URL is told",
	"internal/compat/zone.go":              "is the wire form of instants on the legacy surfaces",
	"internal/schedule/template.go":        "writes slots into payloads",
	"internal/control/schedule_preview.go": "names instants in errors and notes for people",
	"pkg/apiv1/scalar.go":                  "is the wire form of instants",
	"pkg/signature/signature.go":           "signs the instant that its caller names",
	"pkg/worker/workertest/kit.go":         "is the clock of tests without a database",

	"internal/compat/serendipity/callback.go": "dates a callback by the instant that its caller names",
}

// noFuzz are functions whose name says that they decode, but which no fuzz target reaches by name, each for a reason.
var noFuzz = map[string]string{
	"internal/config/yaml.go Decode":               "is called by viper: config's FuzzFile gets at it",
	"internal/worker/beat.go verify":               "compares runs with rows: it decodes nothing",
	"internal/worker/beat.go verifyIn":             "compares runs with rows: it decodes nothing",
	"pkg/worker/workertest/assert.go DecodeResult": "reads what the handler under test gave, for the test that calls it",
	"pkg/worker/workertest/assert.go decode":       "reads what the handler under test gave, for the test that calls it",
}

// noLeakCheck are packages that start goroutines without a TestMain that looks for leaks, each for a reason.
var noLeakCheck = map[string]string{
	"internal/compat/compattest": "has no tests of its own: the surfaces' tests, which use it, look for leaks",
}
