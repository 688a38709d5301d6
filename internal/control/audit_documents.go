package control

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// What the audit trail shows of definitions has the names and values of the API, so that an entry can be sent back as it is read;
// what is not set is left out. Secrets and payloads are not among it.

// appDocument is what can be set of an app.
func appDocument(a task.App) []byte {
	return document(map[string]any{"name": a.Name, "callbackUrl": a.CallbackURL, "weight": a.Weight, "paused": a.Paused, "disabled": a.Disabled,
		"keepDeliveries": a.KeepDeliveries, "limits": limitsSet(a.Limits),
		"surface": a.Legacy.Surface, "step": a.Legacy.Step, "retryTotal": a.Legacy.RetryTotal, "remark": a.Legacy.Remark,
		"callbackHeaderStyle": a.Legacy.HeaderStyle, "signatureMode": a.Legacy.SignatureMode})
}

// limitsSet is apiv1.Limits.
func limitsSet(l task.Limits) map[string]any {
	out := map[string]any{}
	if l.RateTasks != 0 {
		out["rate"] = map[string]any{"tasks": l.RateTasks, "perMs": l.RatePerMs, "burst": l.RateBurst}
	}
	if l.Concurrency != 0 {
		out["concurrency"] = l.Concurrency
	}
	return out
}

// limitsDocument is what is set of a queue or a limit key.
func limitsDocument(l task.Limits, paused bool) []byte {
	return document(map[string]any{"limits": limitsSet(l), "paused": paused})
}

// scheduleDocument is a schedule's definition. Of the payload, which may hold anything, it has the size and the hash.
func scheduleDocument(row schedule.Row) []byte {
	out := map[string]any{"name": row.Name, "paused": row.Pause != schedule.NotPaused, "version": row.Version}
	if d, err := schedule.DecodeDefinition(row.Definition); err == nil {
		sum := sha256.Sum256(d.Task.Payload)
		out["definition"], out["payloadBytes"], out["payloadSha256"] = definitionSet(d), len(d.Task.Payload), hex.EncodeToString(sum[:])
	}
	return document(out)
}

// definitionSet is apiv1.ScheduleInput.
func definitionSet(d *schedule.Definition) map[string]any {
	spec := given(map[string]any{"cron": d.Spec.Cron, "dialect": string(d.Spec.Dialect), "everyMs": d.Spec.EveryMs, "anchor": instant(d.Spec.Anchor), "at": instant(d.Spec.At)})
	h := &d.Task.Head
	t := given(map[string]any{"kind": d.Task.Kind, "queue": d.Task.Queue, "priority": d.Task.Priority.String(), "timeoutMs": d.Task.TimeoutMs,
		"limitKey": h.LimitKey, "completionUrl": h.CompletionURL, "uniqueKey": h.UniqueKey})
	if h.UniqueKey != "" {
		t["uniqueScope"], t["uniqueOnConflict"] = UniqueScopeName(h.UniqueScope), UniqueConflictName(d.Task.OnConflict)
	}
	if h.UniqueWindowMs != 0 {
		t["uniqueWindowMs"] = h.UniqueWindowMs
	}
	if h.Retry != nil {
		t["retry"] = h.Retry
	}
	if len(h.Labels) > 0 {
		t["labels"] = h.Labels
	}
	out := given(map[string]any{"zone": d.Zone, "dstGap": string(d.DSTGap), "dstOverlap": string(d.DSTOverlap), "overlap": d.Overlap.String(), "jitterMs": d.JitterMs,
		"startAt": instant(d.StartAt), "endAt": instant(d.EndAt), "maxConsecutiveFailures": d.MaxFailures})
	out["spec"], out["task"], out["misfire"] = spec, t, map[string]any{"policy": d.Misfire.String(), "maxAgeMs": d.MaxAgeMs}
	if len(d.Labels) > 0 {
		out["labels"] = d.Labels
	}
	return out
}

// given leaves out what is zero.
func given(m map[string]any) map[string]any {
	for k, v := range m {
		switch v {
		case "", 0, int32(0), int64(0):
			delete(m, k)
		}
	}
	return m
}

// instant is a time as the API writes it; "" for none.
func instant(ms int64) string {
	if ms == 0 {
		return ""
	}
	return rfc3339(ms)
}
