package rest

import (
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
)

// readOnly are the members of a schedule that only an answer has.
var readOnly = map[string]bool{
	"id": true, "app": true, "version": true, "description": true, "pausedReason": true, "nextAt": true,
	"consecutiveFailures": true, "createdAt": true, "updatedAt": true,
}

// decodeSchedule reads apiv1.ScheduleInput. The payload of its task aliases the body.
func decodeSchedule(c call) (*control.ScheduleInput, error) {
	in := &control.ScheduleInput{}
	s, err := c.JSON(func(s *httpkit.Scanner) { s.Object(func(key []byte) { scheduleMember(s, in, key) }) })
	if err != nil {
		return nil, err
	}
	if in.Broken = s.Broken(); len(in.Broken) > 0 && in.Broken[0].Field == "" {
		return nil, broken(in.Broken) // not an object
	}
	return in, nil
}

func scheduleMember(s *httpkit.Scanner, in *control.ScheduleInput, key []byte) {
	name := string(key)
	switch {
	case name == "task":
		decodeScheduleTask(s, in)
	case readOnly[name]:
		s.Break("read_only", "is told by the server: leave it out")
		s.Raw()
	case timesMember(s, &in.TimesInput, name):
	case !knownScheduleMember(name):
		s.Unknown()
	case s.Null(): // as good as left out
	default:
		ownMember(s, in, name)
	}
}

func knownScheduleMember(name string) bool {
	switch name {
	case "name", "misfire", "overlap", "maxConsecutiveFailures", "paused", "labels":
		return true
	}
	return false
}

// ownMember reads what a preview does not have.
func ownMember(s *httpkit.Scanner, in *control.ScheduleInput, name string) {
	switch name {
	case "name":
		in.Name.V, in.Name.Set = s.String()
	case "misfire":
		in.Misfire = decodeMisfire(s)
	case "overlap":
		in.Overlap = text(s)
	case "maxConsecutiveFailures":
		in.MaxFailures = whole(s)
	case "paused":
		in.Paused.V, in.Paused.Set = s.Bool()
	case "labels":
		in.Labels = decodeLabels(s)
	}
}

// decodeScheduleTask reads the task with the decoder of POST /v1/tasks. Its broken rules are told by paths within it.
func decodeScheduleTask(s *httpkit.Scanner, in *control.ScheduleInput) {
	if !s.Null() {
		in.Task = decodeInput(s)
	}
}

// timesMember reads what says when a schedule fires. It reports whether the member is one of them.
func timesMember(s *httpkit.Scanner, in *control.TimesInput, name string) bool {
	var set func()
	switch name {
	case "spec":
		set = func() { in.Spec = decodeSpec(s) }
	case "zone":
		set = func() { in.Zone = text(s) }
	case "dstGap":
		set = func() { in.DSTGap = text(s) }
	case "dstOverlap":
		set = func() { in.DSTOverlap = text(s) }
	case "jitterMs":
		set = func() { in.JitterMs = whole(s) }
	case "startAt":
		set = func() { in.StartAt = instant(s) }
	case "endAt":
		set = func() { in.EndAt = instant(s) }
	default:
		return false
	}
	if !s.Null() {
		set()
	}
	return true
}

func decodeSpec(s *httpkit.Scanner) *control.SpecInput {
	in := &control.SpecInput{}
	s.Object(func(key []byte) {
		switch string(key) {
		case "cron", "dialect", "everyMs", "anchor", "at":
		default:
			s.Unknown()
			return
		}
		if s.Null() {
			return
		}
		switch string(key) {
		case "cron":
			in.Cron = control.Some(text(s))
		case "dialect":
			in.Dialect = text(s)
		case "everyMs":
			in.EveryMs = whole(s)
		case "anchor":
			in.Anchor = instant(s)
		case "at":
			in.At = instant(s)
		}
	})
	return in
}

func decodeMisfire(s *httpkit.Scanner) *control.MisfireInput {
	in := &control.MisfireInput{}
	s.Object(func(key []byte) {
		switch string(key) {
		case "policy", "maxAgeMs":
		default:
			s.Unknown()
			return
		}
		if s.Null() {
			return
		}
		switch string(key) {
		case "policy":
			in.Policy = text(s)
		case "maxAgeMs":
			in.MaxAgeMs = whole(s)
		}
	})
	return in
}

// decodePreview reads apiv1.SchedulePreview.
func decodePreview(c call) (*control.PreviewInput, error) {
	in := &control.PreviewInput{}
	s, err := c.JSON(func(s *httpkit.Scanner) {
		s.Object(func(key []byte) {
			switch name := string(key); {
			case timesMember(s, &in.TimesInput, name):
			case name != "from" && name != "count":
				s.Unknown()
			case s.Null():
			case name == "from":
				in.From = instant(s)
			default:
				in.Count = whole(s)
			}
		})
	})
	if err != nil {
		return nil, err
	}
	if in.Broken = s.Broken(); len(in.Broken) > 0 && in.Broken[0].Field == "" {
		return nil, broken(in.Broken)
	}
	return in, nil
}

// decodeRange reads apiv1.BackfillRange.
func decodeRange(c call) (*control.BackfillInput, error) {
	in := &control.BackfillInput{}
	s, err := c.JSON(func(s *httpkit.Scanner) {
		s.Object(func(key []byte) {
			switch string(key) {
			case "from":
				in.From = instant(s)
			case "to":
				in.To = instant(s)
			default:
				s.Unknown()
			}
		})
	})
	if err != nil {
		return nil, err
	}
	if in.Broken = s.Broken(); len(in.Broken) > 0 && in.Broken[0].Field == "" {
		return nil, broken(in.Broken)
	}
	return in, nil
}
