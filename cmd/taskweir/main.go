// Command taskweir operates a Taskweir installation from the command line, and "taskweir standalone" is a whole one in a
// single process.
package main

import (
	"os"

	"github.com/taskweir/taskweir/internal/app"
)

func main() { os.Exit(app.Command(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)) }
