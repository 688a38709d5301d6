package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// output is the log of an attempt that is followed over lost connections: each byte is printed once.
type output struct {
	*program
	client  *client
	id      string
	attempt string // once it is known whose log it is
	from    int64  // the next byte
}

func (p *program) taskLog() *cobra.Command {
	var follow bool
	o := &output{program: p}
	cmd := &cobra.Command{
		Use: "log ID", Short: "Print a task's output, with -f as it comes", Args: arguments(1, 1, "an id"),
		Long: `Prints the output of the running attempt, else of the newest that wrote anything, or of the one that --attempt names; its last 64 KiB
are kept. Into pipes and files it goes byte for byte; on a terminal control sequences are left out.`,
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what the attempt writes, until it ends")
	cmd.Flags().StringVar(&o.attempt, "attempt", "", "id of the attempt")
	cmd.Flags().Int64Var(&o.from, "from", 0, "begin at this byte of the output")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		if _, err := taskPath(args[0]); err != nil {
			return err
		}
		if o.client, o.id = c, args[0]; follow {
			return o.follow(ctx)
		}
		raw, err := c.call(ctx, get("/v1/tasks/"+o.id+"/log", o.query()))
		if err != nil {
			return err
		}
		return o.write(raw)
	})
	return cmd
}

func (o *output) query() url.Values {
	from := ""
	if o.from != 0 {
		from = strconv.FormatInt(o.from, 10)
	}
	return o.parameters("attempt", o.attempt, "from", from)
}

// write prints a piece: as it is into pipes and files, without control sequences on a terminal, which it could steer.
func (o *output) write(raw []byte) error {
	if o.json() {
		return o.printJSON(map[string]any{"id": o.id, "attempt": o.attempt, "log": string(raw)})
	}
	if o.terminal().is {
		raw = []byte(printableLines(string(raw)))
	}
	_, err := o.Out.Write(raw)
	return err
}

// follow prints until the attempt has ended. Only the first connection may fail.
func (o *output) follow(ctx context.Context) error {
	for tries, first := 0, true; ; first = false {
		opened, err := o.connection(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && (exitCode(err) != ExitUnavailable || first && !opened):
			return err
		case opened:
			tries = 0
		}
		if err == nil { // the attempt has ended, or the server
			over, err := o.over(ctx)
			if over || err != nil && exitCode(err) != ExitUnavailable {
				return err
			}
		}
		if tries++; tries == 2 {
			o.note("no answer for the moment, still trying")
		}
		if err := o.client.pause(ctx, time.Duration(min(tries, 10))*500*time.Millisecond); err != nil {
			return err
		}
	}
}

// connection prints what one connection brings; no error is its proper end.
func (o *output) connection(ctx context.Context) (opened bool, err error) {
	q := o.query()
	q.Set("follow", "true")
	resp, err := o.client.stream(ctx, request{method: http.MethodGet, path: "/v1/tasks/" + o.id + "/log", query: q})
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if id := resp.Header.Get("Taskweir-Attempt"); id != "" {
		o.attempt = id
	}
	if n, err := strconv.ParseInt(resp.Header.Get("Taskweir-Log-From"), 10, 64); err == nil {
		o.from = n
	}
	chunk, held := make([]byte, 32<<10), []byte(nil)
	for {
		n, err := resp.Body.Read(chunk)
		o.from += int64(n)
		held = append(held, chunk[:n]...)
		whole := len(held)
		if err == nil {
			whole = wholeRunes(held)
		}
		if whole > 0 {
			if werr := o.write(held[:whole]); werr != nil {
				return true, werr
			}
		}
		held = append(held[:0], held[whole:]...)
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return true, &unreachable{o.client.base, err}
		}
	}
}

// wholeRunes is how much of a text does not end within a character.
func wholeRunes(text []byte) int {
	for back := 1; back <= min(utf8.UTFMax-1, len(text)); back++ {
		if last := text[len(text)-back:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return len(text) - back
			}
			break
		}
	}
	return len(text)
}

// over reports whether there is nothing to come: the attempt has ended.
func (o *output) over(ctx context.Context) (bool, error) {
	t, _, err := fetch[apiv1.Task](ctx, o.client, get("/v1/tasks/"+o.id, o.withApp(nil)))
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(t.Attempts, func(a apiv1.Attempt) bool { return a.ID.String() == o.attempt })
	return apiv1.Final(t.State) || i >= 0 && t.Attempts[i].FinishedAt != 0, nil
}
