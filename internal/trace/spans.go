package trace

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	api "go.opentelemetry.io/otel/trace"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// Request opens the span of an API request: its caller's, when that sends a traceparent, is the parent. route is the pattern, not
// the path, so that names are few. end takes the status of the answer, 0 when its handler panicked.
func (t *Tracer) Request(ctx context.Context, h http.Header, method, route string) (_ context.Context, end func(status int)) {
	ctx = t.w3c.Extract(ctx, propagation.HeaderCarrier(h))
	if api.SpanContextFromContext(ctx).IsValid() {
		ctx = context.WithValue(ctx, decided{}, true)
	}
	ctx, span := t.tracer.Start(ctx, method+" "+route, api.WithSpanKind(api.SpanKindServer),
		api.WithAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route)))
	return ctx, func(status int) {
		if status == 0 {
			status = http.StatusInternalServerError
		}
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= 500 {
			span.SetStatus(codes.Error, "")
			span.SetAttributes(attribute.String("error.type", strconv.Itoa(status)))
		}
		span.End()
	}
}

// Parent is what a task that is submitted under ctx keeps: a W3C traceparent, or "" when there is nothing to keep.
func (t *Tracer) Parent(ctx context.Context) string {
	c := api.SpanContextFromContext(ctx)
	if !c.IsValid() || !c.IsSampled() && ctx.Value(decided{}) == nil {
		return ""
	}
	h := propagation.MapCarrier{}
	t.w3c.Inject(ctx, h)
	return h["traceparent"]
}

// decided marks contexts of requests whose caller decided whether they are sampled.
type decided struct{}

// Run opens the span of an attempt below the one that submitted its task. end takes what the handler returned.
func (t *Tracer) Run(ctx context.Context, j worker.Job, parent string) (_ context.Context, end func(task.Result)) {
	if parent != "" {
		ctx = t.w3c.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
	}
	ctx, span := t.tracer.Start(ctx, "run "+j.Kind, api.WithSpanKind(api.SpanKindConsumer))
	if !span.IsRecording() {
		return ctx, func(task.Result) { span.End() }
	}
	span.SetAttributes(
		attribute.String("messaging.system", "taskweir"), attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.destination.name", j.Queue), attribute.String("messaging.message.id", strconv.FormatInt(j.TaskID, 10)),
		attribute.String("taskweir.kind", j.Kind), attribute.String("taskweir.attempt", strconv.FormatInt(j.AttemptID, 10)),
		attribute.Int64("taskweir.epoch", int64(j.Epoch)), attribute.Int("taskweir.failures", j.Retry),
		attribute.Int64("taskweir.wait_ms", max(0, j.Now()-max(j.DueAt, j.CreatedAt))),
	)
	return ctx, func(res task.Result) {
		defer span.End()
		if cause := context.Cause(ctx); cause != nil && res.Outcome != task.OutcomeSucceeded {
			span.SetAttributes(attribute.String("taskweir.ended", cause.Error()))
		}
		if res.Outcome == task.OutcomeSucceeded {
			return
		}
		if res.ErrCode != "" {
			span.SetAttributes(attribute.String("error.type", res.ErrCode))
		}
		if res.HTTPStatus != 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", int(res.HTTPStatus)))
		}
		span.SetStatus(codes.Error, "")
	}
}

// Call opens the span of an outgoing call and tells the receiver of it, unless its headers name a trace already. end takes the status
// (0: no answer) and what kept it from being whole.
func (t *Tracer) Call(ctx context.Context, method string, u *url.URL, h http.Header) (_ context.Context, end func(status int, code string)) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	n, _ := strconv.Atoi(port)
	ctx, span := t.tracer.Start(ctx, method, api.WithSpanKind(api.SpanKindClient), api.WithAttributes(
		attribute.String("http.request.method", method), attribute.String("url.scheme", u.Scheme),
		attribute.String("server.address", u.Hostname()), attribute.Int("server.port", n),
	))
	if h.Get("traceparent") == "" {
		t.w3c.Inject(ctx, propagation.HeaderCarrier(h))
	}
	return ctx, func(status int, code string) {
		defer span.End()
		if status != 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", status))
		}
		if code == "" && status >= 400 {
			code = strconv.Itoa(status)
		}
		if code != "" {
			span.SetAttributes(attribute.String("error.type", code))
			span.SetStatus(codes.Error, "")
		}
	}
}
