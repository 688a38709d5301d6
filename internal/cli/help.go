package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// topic is a page of help that is no command.
func topic(name, short, long string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Long: long}
}

func topics() []*cobra.Command {
	var codes strings.Builder
	for _, c := range exitCodes {
		fmt.Fprintf(&codes, "  %-4d %s\n", c.code, c.text)
	}
	return []*cobra.Command{
		topic("exit-codes", "What the exit codes mean", "Exit codes tell scripts what happened:\n\n"+codes.String()+
			"\nA command with several names goes on after an error, tells each, and ends with the code of the first."),
		topic("output", "Tables, JSON, ids, times and colours", `Results go to standard output, everything else to standard error.

  -o table   for people: on a terminal cut to its width, with ages instead of times, in colour
  -o json    the API's own JSON, byte for byte: one document a line; streams and --all-pages give one item a line
  -q         only ids or names, one a line, for loops and xargs
  --time     auto, relative (12s ago), absolute (in your zone), utc (as the API writes it)

Colours appear on a terminal only, and not when NO_COLOR is set or TERM is dumb. Text that came from elsewhere (payloads, errors,
names) is shown without control characters; JSON has it escaped.

Lists show a page; --cursor goes on where one ended, --all-pages goes on to the end. -w looks again every second: on a terminal it
redraws, in a pipe it prints anew what changed.`),
	}
}
