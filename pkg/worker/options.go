package worker

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/config"
)

// Option says how a worker is run. A worker is configured as cmd/worker is, by environment and file (docs/configuration.md);
// options win over those, flags given with [Args] win over options.
type Option func(*Worker)

// Setting sets one setting of docs/configuration.md by its key, as text: Setting("worker.slots", "64").
func Setting(key, value string) Option {
	return func(w *Worker) {
		for _, s := range config.Settings() {
			if s.Key == key {
				w.settings[s.Env()] = value
				return
			}
		}
		w.fail("there is no setting %q", key)
	}
}

// Queues are the queues that are served: 1 to 40 of a-z 0-9 _ - each. Without it all are, also new ones, but the platform's own.
func Queues(names ...string) Option { return Setting("worker.queues", strings.Join(names, ",")) }

// Slots is how many tasks run at once, 1 to 10,000; 256 without it.
func Slots(n int) Option { return Setting("worker.slots", strconv.Itoa(n)) }

// DrainTime is what running tasks get when the worker ends, 0 to 1 h; 10 s without it.
func DrainTime(d time.Duration) Option { return Setting("drain_time", d.String()) }

// OpsAddr is where health, metrics and pprof are served, host:port; 127.0.0.1:8082 without it, port 0 picks a free one.
func OpsAddr(addr string) Option { return Setting("ops.addr", addr) }

// HTTPAddr is where the API of a standalone listens, host:port; 127.0.0.1:8080 without it, port 0 picks a free one.
func HTTPAddr(addr string) Option { return Setting("http.addr", addr) }

// DataDir is where a standalone keeps everything; .taskweir without it.
func DataDir(path string) Option { return Setting("data_dir", path) }

// ConfigFile reads settings from a YAML file; the environment and other options win over it.
func ConfigFile(path string) Option {
	return func(w *Worker) { w.settings["TASKWEIR_CONFIG"] = path }
}

// Environ takes the place of the process's environment: NAME=value, as os.Environ gives it.
func Environ(environ []string) Option {
	return func(w *Worker) { w.environ = append([]string{}, environ...) }
}

// Args reads flags, the same as those of cmd/worker, as in Args(os.Args[1:]...). Main does this by itself.
func Args(args ...string) Option { return func(w *Worker) { w.args = append([]string{}, args...) } }

// Logger takes the worker's own log. Without it, it goes to standard error as configured.
func Logger(l *slog.Logger) Option { return func(w *Worker) { w.logger = l } }

// BuiltIns makes the worker run the built-in kinds too, and the platform's own chores, as cmd/worker does. A standalone always
// does.
func BuiltIns() Option { return func(w *Worker) { w.builtIns = true } }

// IgnoreSignals leaves SIGTERM and SIGINT to the program: the end of Run's context drains. Without it the first signal drains
// and the second ends at once.
func IgnoreSignals() Option { return func(w *Worker) { w.signals = false } }
