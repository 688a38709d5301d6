package openapi

import (
	"reflect"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// rule adds to a member what its Go type does not tell.
type rule func(*builder, *member)

// nullIsAbsent are the types of requests whose members may be null, which is as good as left out, unless they are required.
var nullIsAbsent = map[string]bool{
	"Submit": true, "Retry": true, "ScheduleInput": true, "ScheduleSpec": true, "ScheduleMisfire": true, "SchedulePreview": true,
}

func oneOf(names ...string) rule {
	return func(_ *builder, m *member) {
		s := m.schema
		if s.Items != nil {
			s = s.Items
		}
		for _, n := range names {
			s.Enum = append(s.Enum, n)
		}
	}
}

// from is a lower bound, to an upper one.
func from(lo float64) rule {
	return func(_ *builder, m *member) { n := Number(lo); m.schema.Minimum = &n }
}

func within(lo, hi float64) rule {
	return func(b *builder, m *member) {
		from(lo)(b, m)
		n := Number(hi)
		m.schema.Maximum = &n
	}
}

// length bounds a text in characters. Where the server counts bytes, the comment says so: a text of that many characters may be
// too long, one of more always is.
func length(lo, hi int) rule {
	return func(_ *builder, m *member) {
		if m.schema.MaxLength = &hi; lo > 0 {
			m.schema.MinLength = &lo
		}
	}
}

func items(lo, hi int) rule {
	return func(_ *builder, m *member) {
		if m.schema.MaxItems = &hi; lo > 0 {
			m.schema.MinItems = &lo
		}
	}
}

// members bounds how many members an object has.
func members(most int) rule {
	return func(_ *builder, m *member) { m.schema.MaxProperties = &most }
}

func pattern(p string) rule {
	return func(_ *builder, m *member) { m.schema.Pattern = p }
}

// byDefault is what the server takes when the member is left out.
func byDefault(v any) rule {
	return func(_ *builder, m *member) { m.schema.Default = v }
}

// each applies rules to the elements of an array.
func each(rs ...rule) rule {
	return func(b *builder, m *member) {
		in := &member{schema: m.schema.Items}
		for _, r := range rs {
			r(b, in)
		}
		m.schema.Items = in.done()
	}
}

var (
	null rule = func(_ *builder, m *member) { m.nullable = true }
	// always is never null, and always there.
	always   rule = func(_ *builder, m *member) { m.nullable = false }
	notEmpty rule = func(_ *builder, m *member) { one := 1; m.schema.MinLength = &one }
	optional rule = func(_ *builder, m *member) { m.required = false }
	// minusOne also allows -1.
	minusOne rule = func(_ *builder, m *member) {
		lo, hi, description := m.schema.Minimum, m.schema.Maximum, m.schema.Description
		m.schema = &Schema{Description: description, AnyOf: []*Schema{{Type: Types{"integer"}, Minimum: lo, Maximum: hi}, {Const: -1}}}
		if m.nullable {
			m.schema.AnyOf = append(m.schema.AnyOf, &Schema{Type: Types{"null"}})
		}
	}
	// labels are up to 16 names and values.
	labels rule = func(_ *builder, m *member) {
		most, lo, name, value := 16, 1, 63, 255
		m.schema.MaxProperties, m.schema.PropertyNames = &most, &Schema{MinLength: &lo, MaxLength: &name}
		m.schema.Additional = &Schema{Type: Types{"string"}, MaxLength: &value}
	}
)

// shows is raw JSON of a type, or null.
func shows[T any]() rule {
	return func(b *builder, m *member) {
		description := m.schema.Description
		m.schema = b.ref(reflect.TypeFor[T]())
		m.schema.Description, m.nullable = description, true
	}
}

const (
	tenYears  = 316_224_000_000 // ms
	day       = 86_400_000
	week      = 7 * day
	kindName  = `^[a-z0-9._-]{1,64}$`
	queueName = `^[a-z0-9_-]{1,40}$`
	limitKey  = `^[A-Za-z0-9._:@-]{1,64}$`
	latest    = 253_402_300_799_999
)

var (
	states     = oneOf(apiv1.StateScheduled, apiv1.StateQueued, apiv1.StateRunning, apiv1.StateSucceeded, apiv1.StateFailed, apiv1.StateCancelled, apiv1.StateBlocked)
	priorities = oneOf(apiv1.PriorityHigh, apiv1.PriorityNormal, apiv1.PriorityLow)
	outcomes   = oneOf(apiv1.OutcomeSucceeded, apiv1.OutcomeFailed, apiv1.OutcomeTimedOut, apiv1.OutcomeCancelled, apiv1.OutcomeLost, apiv1.OutcomeReleased, apiv1.OutcomeSnoozed)
	policies   = oneOf(apiv1.RetryFixed, apiv1.RetryLinear, apiv1.RetryExponential, apiv1.RetryList)
	uniques    = oneOf(apiv1.UniqueUntilDue, apiv1.UniqueUntilStarted, apiv1.UniqueUntilFinished, apiv1.UniqueWindow, apiv1.UniqueForever)
	conflicts  = oneOf(apiv1.UniqueReject, apiv1.UniqueKeep, apiv1.UniqueReplace)
	scopes     = oneOf(apiv1.ScopeRead, apiv1.ScopeSubmit, apiv1.ScopeManage, apiv1.ScopeAdmin)
	gaps       = oneOf("skip", "shift")
	overlaps   = oneOf("first", "second", "both")
	misfires   = oneOf("skip", "once", "all")
	policyOf   = oneOf("allow", "skip", "queue", "cancel_previous")
	slotEnds   = oneOf(apiv1.SlotFired, apiv1.SlotHeld, apiv1.SlotSkipped, apiv1.SlotSkippedOverlap, apiv1.SlotSkippedMisfire, apiv1.SlotFailedTemplate)
	count      = from(0)
)

// rules say what the Go types do not: enumerations, ranges, lengths, and which members of an answer are null. Beside comments
// they are the only hand-written part of the schemas; the contract test holds both sides of each bound against the server.
var rules = map[string][]rule{
	"Submit.kind":             {pattern(kindName)},
	"Submit.queue":            {pattern(queueName), byDefault("default")},
	"Submit.priority":         {priorities, byDefault(apiv1.PriorityNormal)},
	"Submit.delayMs":          {within(0, tenYears)},
	"Submit.timeoutMs":        {within(1, week), minusOne, byDefault(60_000)},
	"Submit.uniqueKey":        {length(1, 255)},
	"Submit.uniqueScope":      {uniques, byDefault(apiv1.UniqueUntilFinished)},
	"Submit.uniqueWindowMs":   {within(1, tenYears)},
	"Submit.uniqueOnConflict": {conflicts, byDefault(apiv1.UniqueReject)},
	"Submit.limitKey":         {pattern(limitKey)},
	"Submit.labels":           {labels},
	"Submit.completionUrl":    {pattern(`^[Hh][Tt][Tt][Pp][Ss]?://`), length(8, 2048)},

	"Retry.policy":   {policies, byDefault(apiv1.RetryExponential)},
	"Retry.baseMs":   {within(1, day), byDefault(1000)},
	"Retry.capMs":    {within(1, day), byDefault(3_600_000)},
	"Retry.jitter":   {within(0, 1)},
	"Retry.max":      {within(0, 100), byDefault(3)},
	"Retry.delaysMs": {items(1, 100), each(within(0, day))},

	"SubmitBatch.tasks": {items(1, 1000)},

	"Task.id":            {always},
	"Task.state":         {states},
	"Task.priority":      {priorities},
	"Task.reason":        {null},
	"Task.error":         {null},
	"Task.failures":      {count},
	"Task.losses":        {count},
	"Task.uniqueKey":     {null},
	"Task.runAt":         {always},
	"Task.createdAt":     {always},
	"Task.completionUrl": {null},
	"Task.limitKey":      {null},
	"Task.timeoutMs":     {within(1, week), minusOne},

	"RetryInForce.policy": {policies},
	"RetryInForce.jitter": {within(0, 1)},

	"TaskError.httpStatus": {null},

	"Attempt.id":         {always},
	"Attempt.worker":     {null},
	"Attempt.outcome":    {outcomes, null},
	"Attempt.httpStatus": {null},
	"Attempt.logTail":    {null},

	"Verdict.code": {oneOf(apiv1.VerdictNotDue, apiv1.VerdictQueuePaused, apiv1.VerdictAppPaused, apiv1.VerdictNoWorkerForQueue, apiv1.VerdictNoWorkerForKind,
		apiv1.VerdictRateLimited, apiv1.VerdictConcurrencyLimited, apiv1.VerdictBehindOlder, apiv1.VerdictBlockedByParent, apiv1.VerdictBrokerUnreachable,
		apiv1.VerdictCancelling, apiv1.VerdictRunning, apiv1.VerdictFinal)},

	"TaskList.nextCursor": {null},

	"Complete.epoch":        {within(1, 1<<31-1)},
	"Complete.outcome":      {oneOf("succeeded", "failed")},
	"Complete.error":        {null},
	"Complete.retryAfterMs": {within(0, 3_600_000), null},

	"CompleteError.code":    {pattern(`^[a-z0-9._-]{0,64}$`), byDefault("failed")},
	"CompleteError.message": {length(0, 2048)},

	"AttemptDetail.delivery": {shows[apiv1.Delivery]()},
	"CallbackTest.findings":  {null},

	"ScheduleInput.name":                   {length(1, 100)},
	"ScheduleInput.zone":                   {notEmpty, byDefault("UTC")},
	"ScheduleInput.dstGap":                 {gaps, byDefault("shift")},
	"ScheduleInput.dstOverlap":             {overlaps, byDefault("first")},
	"ScheduleInput.overlap":                {policyOf, byDefault("allow")},
	"ScheduleInput.jitterMs":               {within(0, day), byDefault(0)},
	"ScheduleInput.maxConsecutiveFailures": {within(0, 1000), byDefault(0)},
	"ScheduleInput.labels":                 {labels},

	"ScheduleSpec.cron":    {notEmpty},
	"ScheduleSpec.dialect": {oneOf("auto", "unix", "quartz")},
	"ScheduleSpec.everyMs": {within(1000, 315_360_000_000)},

	"ScheduleMisfire.policy":   {misfires, byDefault("once")},
	"ScheduleMisfire.maxAgeMs": {within(0, tenYears), byDefault(3_600_000)},

	"SchedulePreview.zone":       {notEmpty, byDefault("UTC")},
	"SchedulePreview.count":      {within(1, 1000), byDefault(5)},
	"SchedulePreview.dstGap":     {gaps, byDefault("shift")},
	"SchedulePreview.dstOverlap": {overlaps, byDefault("first")},
	"SchedulePreview.jitterMs":   {within(0, day), byDefault(0)},

	"Schedule.id":           {always},
	"Schedule.version":      {from(1)},
	"Schedule.dstGap":       {gaps},
	"Schedule.dstOverlap":   {overlaps},
	"Schedule.overlap":      {policyOf},
	"Schedule.pausedReason": {oneOf("by_user", "failures"), null},
	"Schedule.createdAt":    {always},
	"Schedule.updatedAt":    {always},

	"ScheduleSpecInForce.dialect": {oneOf("auto", "unix", "quartz")},
	"MisfireInForce.policy":       {misfires},

	"ScheduleTask.priority":         {priorities},
	"ScheduleTask.uniqueScope":      {uniques, null},
	"ScheduleTask.uniqueOnConflict": {conflicts, null},
	"ScheduleTask.timeoutMs":        {within(1, week), minusOne},

	"Slot.slot":     {always},
	"Slot.lastSlot": {always},
	"Slot.origin":   {oneOf("planned", "manual", "backfill")},
	"Slot.outcome":  {slotEnds},
	"Slot.firedAt":  {always},

	"Fire.at": {always},

	"Count.value":          {count},
	"Queue.oldestDueAgeMs": {count},

	"Worker.id":        {always},
	"Worker.state":     {oneOf("alive", "draining", "gone")},
	"Worker.startedAt": {always},
	"Worker.beatAt":    {always},

	"RunningTask.task":      {always},
	"RunningTask.attempt":   {always},
	"RunningTask.startedAt": {always},

	"App.weight":              {within(1, 1000)},
	"App.createdAt":           {always},
	"App.step":                {within(1, 3600)},
	"App.retryTotal":          {within(0, 10)},
	"App.callbackHeaderStyle": {oneOf("hyphen", "underscore")},
	"App.signatureMode":       {oneOf("token", "strict")},

	"AppCreate.name":                {length(1, 100)},
	"AppCreate.callbackUrl":         {length(0, 2048), null},
	"AppCreate.weight":              {within(1, 1000), byDefault(1)},
	"AppCreate.id":                  {pattern(`^[A-Za-z0-9_-]{1,16}$`)},
	"AppCreate.signingSecret":       {pattern(`^[!-~]{16,128}$`)},
	"AppCreate.step":                {within(1, 3600)},
	"AppCreate.retryTotal":          {within(0, 10)},
	"AppCreate.remark":              {length(0, 255)},
	"AppCreate.callbackHeaderStyle": {oneOf("hyphen", "underscore")},
	"AppCreate.signatureMode":       {oneOf("token", "strict")},

	"AppPatch.name":                {length(1, 100)},
	"AppPatch.callbackUrl":         {length(0, 2048), null},
	"AppPatch.weight":              {within(1, 1000)},
	"AppPatch.step":                {within(1, 3600)},
	"AppPatch.retryTotal":          {within(0, 10)},
	"AppPatch.remark":              {length(0, 255)},
	"AppPatch.callbackHeaderStyle": {oneOf("hyphen", "underscore")},
	"AppPatch.signatureMode":       {oneOf("token", "strict")},

	"Key.id":        {always},
	"Key.scope":     {scopes},
	"Key.createdAt": {always},

	"KeyCreate.name":  {length(0, 100)},
	"KeyCreate.scope": {scopes},

	"Problem.status": {within(400, 599)},

	"BulkCreate.action":    {oneOf(apiv1.BulkCancel, apiv1.BulkRetry, apiv1.BulkDelete)},
	"BulkFilter.state":     {states},
	"BulkFilter.queue":     {pattern(queueName)},
	"BulkFilter.kind":      {pattern(kindName)},
	"BulkFilter.uniqueKey": {length(1, 255)},
	"BulkFilter.labels":    {members(1)},
	"BulkFilter.ids":       {items(1, 1000)},
	"Bulk.id":              {always},
	"Bulk.action":          {oneOf(apiv1.BulkCancel, apiv1.BulkRetry, apiv1.BulkDelete)},
	"Bulk.state":           {oneOf(apiv1.BulkRunning, apiv1.BulkDone, apiv1.BulkFailed, apiv1.BulkStopping, apiv1.BulkStopped)},
	"Bulk.matched":         {count},
	"Bulk.changed":         {count},
	"Bulk.skipped":         {count},
	"Bulk.createdAt":       {always},

	"Stats.from":   {always},
	"Stats.to":     {always},
	"Stats.stepMs": {from(60_000)},
	"Stats.by":     {oneOf("queue", "app", "kind")},
	"Stat.at":      {always},

	"AuditEntry.id": {always},
	"AuditEntry.at": {always},

	"Event.type": {oneOf(apiv1.EventSubmitted, apiv1.EventStarted, apiv1.EventProgress, apiv1.EventRetrying, apiv1.EventSucceeded, apiv1.EventFailed,
		apiv1.EventCancelled, apiv1.EventReset)},
	"Event.state":      {states},
	"Event.epoch":      {count},
	"Event.outcome":    {outcomes},
	"Ticket.expiresAt": {always},

	"Limits.rate":        {optional, null},
	"Limits.concurrency": {within(1, 1_000_000), optional, null},
	"Rate.tasks":         {within(1, 1_000_000)},
	"Rate.perMs":         {within(100, day), byDefault(1000)},
	"Rate.burst":         {within(1, 1_000_000)},

	"LimitKey.key":     {pattern(limitKey)},
	"LimitKey.running": {count},
}

// conditions are rules between members.
var conditions = map[string][]*Schema{
	"Submit": {
		{Description: "runAt and delayMs exclude each other.", Not: has("runAt", "delayMs")},
		{Description: "uniqueScope, uniqueWindowMs and uniqueOnConflict have no meaning without uniqueKey.",
			If: &Schema{AnyOf: []*Schema{has("uniqueScope"), has("uniqueWindowMs"), has("uniqueOnConflict")}}, Then: has("uniqueKey")},
		{Description: "Scope window needs uniqueWindowMs.", If: with("uniqueScope", apiv1.UniqueWindow), Then: has("uniqueWindowMs")},
		{Description: "uniqueWindowMs only goes with scope window.", If: has("uniqueWindowMs"), Then: with("uniqueScope", apiv1.UniqueWindow)},
	},
	"Retry": {
		{Description: "Policy list needs delaysMs.", If: with("policy", apiv1.RetryList), Then: filled("delaysMs")},
		{Description: "delaysMs only goes with policy list.", If: has("delaysMs"), Then: with("policy", apiv1.RetryList)},
	},
	"ScheduleInput": {
		{Description: "Each task of a schedule is due at its slot: its task has no time of its own.",
			Not: inside("task", &Schema{AnyOf: []*Schema{has("runAt"), has("delayMs"), has("expiresAt"), with("uniqueScope", apiv1.UniqueUntilDue)}})},
	},
	"BulkFilter": {
		{Description: "ids goes without other members.", If: &Schema{Required: []string{"ids"}}, Then: &Schema{MaxProperties: new(1)}},
	},
	"ScheduleSpec": {
		{Description: "Exactly one of cron, everyMs and at.", AnyOf: []*Schema{
			{AllOf: []*Schema{has("cron"), {Not: has("everyMs")}, {Not: has("at")}}},
			{AllOf: []*Schema{has("everyMs"), {Not: has("cron")}, {Not: has("at")}}},
			{AllOf: []*Schema{has("at"), {Not: has("cron")}, {Not: has("everyMs")}}},
		}},
		{Description: "dialect goes with cron.", If: has("dialect"), Then: has("cron")},
		{Description: "anchor goes with everyMs, or with @every in cron.", If: has("anchor"),
			Then: &Schema{AnyOf: []*Schema{has("everyMs"), inside("cron", &Schema{Type: Types{"string"}, Pattern: `^[ \t]*@`})}}},
	},
}

// least is how many members an object has at least.
var least = map[string]int{"BulkFilter": 1}

// has is an object that has members which are not null.
func has(names ...string) *Schema {
	s := &Schema{Required: names}
	for _, n := range names {
		s.Properties = append(s.Properties, Property{n, &Schema{Not: &Schema{Type: Types{"null"}}}})
	}
	return s
}

// with is an object with a member of that value.
func with(name string, value any) *Schema {
	return inside(name, &Schema{Const: value})
}

// filled is an object with an array that is not empty.
func filled(name string) *Schema {
	one := 1
	return inside(name, &Schema{Type: Types{"array"}, MinItems: &one})
}

func inside(name string, s *Schema) *Schema {
	return &Schema{Required: []string{name}, Properties: Properties{{name, s}}}
}
