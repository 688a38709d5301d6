package cli

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxEvent bounds one event of a stream.
const maxEvent = 1 << 20

var errEventTooLong = errors.New("an event of the stream is longer than 1 MiB")

// eventReader reads server-sent events. It keeps the bytes of their data, so that -o json prints what the API said.
type eventReader struct {
	lines  *bufio.Scanner
	lastID string // of the last event that had one
}

func newEventReader(in io.Reader) *eventReader {
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 16<<10), maxEvent)
	return &eventReader{lines: s}
}

// next gives the data of the next event; io.EOF at the end of the stream, where an event that is not whole is dropped.
func (r *eventReader) next() ([]byte, error) {
	var data []byte
	has := false
	for r.lines.Scan() {
		line := bytes.TrimSuffix(r.lines.Bytes(), []byte("\r"))
		if len(line) == 0 {
			if has {
				return data, nil
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":")) // a line that begins with a colon is a sign of life
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "data":
			if has {
				data = append(data, '\n')
			}
			if data, has = append(data, value...), true; len(data) > maxEvent {
				return nil, errEventTooLong
			}
		case "id":
			r.lastID = string(value)
		}
	}
	switch err := r.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, errEventTooLong
	case err != nil:
		return nil, err
	}
	return nil, io.EOF
}
