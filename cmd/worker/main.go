// Command worker runs a worker: it claims tasks and executes them; any number of them.
package main

import (
	"os"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/config"
)

func main() { os.Exit(app.Main(config.Worker, os.Args[1:], os.Environ(), os.Stderr)) }
