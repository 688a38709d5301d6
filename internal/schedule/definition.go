package schedule

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/taskweir/taskweir/internal/cron"
	"github.com/taskweir/taskweir/internal/task"
)

// Definition is what a schedule's owner says of it.
type Definition struct {
	Spec        cron.Spec         `json:"spec"`
	Zone        string            `json:"zone"` // IANA name
	DSTGap      cron.DSTGap       `json:"dstGap"`
	DSTOverlap  cron.DSTOverlap   `json:"dstOverlap"`
	Misfire     Misfire           `json:"misfire"`
	MaxAgeMs    int64             `json:"maxAgeMs"`
	Overlap     Overlap           `json:"overlap"`
	JitterMs    int64             `json:"jitterMs,omitempty"`
	StartAt     int64             `json:"startAt,omitempty"` // no slot before it; 0: none
	EndAt       int64             `json:"endAt,omitempty"`   // no slot at or after it; 0: none
	MaxFailures int               `json:"maxFailures,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Task        Template          `json:"task"`
}

// Template is the task that each slot makes. Numbers of kind and lane are resolved when it is saved.
type Template struct {
	Kind      string        `json:"kind"`
	KindID    int32         `json:"kindId"`
	Queue     string        `json:"queue"`
	Priority  task.Priority `json:"priority"`
	LaneID    int32         `json:"laneId"`
	TimeoutMs int32         `json:"timeoutMs"`
	Flags     task.Flags    `json:"flags,omitempty"`
	Head      task.BodyHead `json:"head"` // retry policy, labels, unique key, as in the body of a task
	// OnConflict is what happens when the unique key is taken.
	OnConflict task.UniqueConflict `json:"onConflict,omitempty"`
	// Payload is raw JSON with {{templates}}, kept byte for byte beside the rest of the definition.
	Payload []byte `json:"-"`
}

// Tracked reports whether the schedule must know when its runs end.
func (d *Definition) Tracked() bool { return d.Overlap != Allow || d.MaxFailures > 0 }

const definitionVersion = 1

var errDefinition = errors.New("not a schedule's definition")

// Encode gives the stored form: version byte, uvarint length of the head, the head as JSON, the payload byte for byte.
func (d *Definition) Encode() ([]byte, error) {
	head, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode definition: %w", err)
	}
	out := make([]byte, 0, 1+binary.MaxVarintLen32+len(head)+len(d.Task.Payload))
	out = append(out, definitionVersion)
	out = binary.AppendUvarint(out, uint64(len(head)))
	out = append(out, head...)
	return append(out, d.Task.Payload...), nil
}

// DecodeDefinition reads the stored form. The payload aliases raw.
func DecodeDefinition(raw []byte) (*Definition, error) {
	if len(raw) < 2 || raw[0] != definitionVersion {
		return nil, errDefinition
	}
	n, w := binary.Uvarint(raw[1:])
	if w <= 0 || n > uint64(len(raw)-1-w) {
		return nil, errDefinition
	}
	rest := raw[1+w:]
	d := &Definition{}
	if err := json.Unmarshal(rest[:n], d); err != nil {
		return nil, fmt.Errorf("%w: %w", errDefinition, err)
	}
	d.Task.Payload = rest[n:]
	return d, nil
}

// Timetable is a definition ready to be asked for slots.
type Timetable struct {
	*Definition
	times *cron.Timetable
}

// Compile makes the timetable of a definition. Errors of the expression are *cron.Error.
func Compile(d *Definition) (*Timetable, error) {
	times, err := cron.Compile(d.Spec, d.Zone, d.DSTGap, d.DSTOverlap)
	if err != nil {
		return nil, err
	}
	return &Timetable{Definition: d, times: times}, nil
}

// Times is the timetable without the bounds.
func (t *Timetable) Times() *cron.Timetable { return t.times }

// Next gives the first slot strictly after an instant, within the bounds of start and end; Never when there is none.
func (t *Timetable) Next(after int64) int64 {
	if t.StartAt > 0 && after < t.StartAt {
		after = t.StartAt - 1
	}
	at, ok := t.times.Next(after)
	if !ok || t.EndAt > 0 && at >= t.EndAt {
		return Never
	}
	return at
}
