package app

import (
	"context"
	"io"

	"github.com/spf13/pflag"

	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/internal/config"
)

// OpenBench opens what "taskweir bench" measures, for the benchmark beside the peers: api, scheduler and worker in this process,
// with their data in dir and on the servers that environ names by the settings of standalone. Warnings go to errs. Like a program
// of ours it leaves the garbage collector as it is only when environ holds GOGC.
func OpenBench(ctx context.Context, dir string, environ []string, errs io.Writer, s bench.Settings) (bench.System, error) {
	tuneGC(environ)
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	config.AddFlags(fs, config.Standalone)
	cfg, err := benchConfig(fs, environ, dir)
	if err != nil {
		return nil, err
	}
	return (&benchRun{cfg: cfg, errs: errs}).open(ctx, s)
}
