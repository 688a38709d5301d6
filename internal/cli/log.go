package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
	sdk "github.com/taskweir/taskweir/pkg/client"
)

// output is the log of an attempt that is followed over lost connections: each byte is printed once.
type output struct {
	*program
	client  *client
	id      string
	attempt string // once it is known whose log it is
	from    int64  // the first byte
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

// follow prints until the attempt has ended. What a character is not whole of yet waits for its rest.
func (o *output) follow(ctx context.Context) error {
	if err := cmp.Or(o.client.credential(request{}), o.client.unusable()); err != nil {
		return err
	}
	api, opened, err := o.client.lasting(o.note)
	if err != nil {
		return err
	}
	id, err := apiv1.ParseID(o.id)
	if err != nil {
		return usage(err)
	}
	q := sdk.LogQuery{From: o.from}
	if o.attempt != "" {
		if q.Attempt, err = apiv1.ParseID(o.attempt); err != nil {
			return usage(fmt.Errorf("--attempt: %w", err))
		}
	}
	show := func(text []byte) error {
		if len(text) == 0 {
			return nil
		}
		return o.write(text)
	}
	var held []byte
	next := o.from
	for piece, err := range api.ForApp(o.app).FollowLog(ctx, id, q, opened) {
		if err != nil {
			return errors.Join(show(held), o.client.explained(ctx, err))
		}
		if piece.From != next && len(held) > 0 { // the rest is not kept
			if err := show(held); err != nil {
				return err
			}
			held = held[:0]
		}
		next = piece.From + int64(len(piece.Text))
		if piece.Attempt != 0 {
			o.attempt = piece.Attempt.String()
		}
		held = append(held, piece.Text...)
		whole := wholeRunes(held)
		if err := show(held[:whole]); err != nil {
			return err
		}
		held = append(held[:0], held[whole:]...)
	}
	return show(held)
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
