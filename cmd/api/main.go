// Command api runs the HTTP API: stateless, any number of them.
package main

import (
	"os"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/config"
)

func main() { os.Exit(app.Main(config.API, os.Args[1:], os.Environ(), os.Stderr)) }
