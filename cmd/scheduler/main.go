// Command scheduler runs the scheduler: it rings due tasks, rescues those of dead workers and purges; any number of them.
package main

import (
	"os"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/config"
)

func main() { os.Exit(app.Main(config.Scheduler, os.Args[1:], os.Environ(), os.Stderr)) }
