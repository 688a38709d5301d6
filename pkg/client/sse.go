package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"
)

// maxLine bounds one line of an event stream.
const maxLine = 1 << 20

var errLineTooLong = errors.New("a line of the event stream is longer than 1 MiB")

// sseReader reads server-sent events as the HTML standard defines them.
type sseReader struct {
	in     *bufio.Reader
	lastID string        // as the stream last set it
	retry  time.Duration // pause before the next connection, as the stream wished; 0: it did not say
	began  bool
	afterR bool // the line before ended in CR: a LF now belongs to it
}

func newSSEReader(in io.Reader) *sseReader { return &sseReader{in: bufio.NewReaderSize(in, 16<<10)} }

// next gives the next event that has data. An event that the end of the stream cuts off is dropped.
func (s *sseReader) next() (RawEvent, error) {
	var e RawEvent
	var data []byte
	has := false
	for {
		line, err := s.line()
		if err != nil {
			return RawEvent{}, err
		}
		if len(line) == 0 {
			if has {
				e.ID, e.Data = s.lastID, data
				return e, nil
			}
			e.Name = ""
			continue
		}
		name, value := line, []byte(nil)
		if i := bytes.IndexByte(line, ':'); i >= 0 {
			name, value = line[:i], bytes.TrimPrefix(line[i+1:], []byte(" "))
		}
		switch string(name) { // "" is a comment: a sign of life
		case "data":
			if has {
				data = append(data, '\n')
			}
			if data, has = append(data, value...), true; len(data) > maxLine {
				return RawEvent{}, errLineTooLong
			}
		case "event":
			e.Name = string(value)
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				s.lastID = string(value)
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				s.retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
}

// line reads a line that ends in LF, CRLF or CR; a mark at the beginning of the stream is not part of it.
func (s *sseReader) line() ([]byte, error) {
	var line []byte
	for {
		b, err := s.in.ReadByte()
		if err != nil {
			if err == io.EOF && len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if s.afterR {
			if s.afterR = false; b == '\n' {
				continue
			}
		}
		if b == '\n' || b == '\r' {
			s.afterR = b == '\r'
			if !s.began {
				s.began, line = true, bytes.TrimPrefix(line, []byte("\ufeff"))
			}
			return line, nil
		}
		if line = append(line, b); len(line) > maxLine {
			return nil, errLineTooLong
		}
	}
}
