package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
)

// SpanExporter takes spans that have ended.
type SpanExporter = sdk.SpanExporter

// Options say where spans go.
type Options struct {
	// Endpoint is the base URL of an OTLP/HTTP collector; /v1/traces is added when it has no path. Required unless Exporter is set.
	Endpoint string
	// Headers are sent with every export, for collectors that ask for a credential.
	Headers map[string]string
	// Share of requests that are sampled when their caller has not decided, 0 … 1.
	Share float64

	Service  string // service.name
	Version  string // service.version
	Instance string // service.instance.id

	Exporter SpanExporter // instead of Endpoint; spans are given to it one by one, at their end
	Logger   *slog.Logger // nil: slog.Default
}

// Tracer opens spans. It implements the ports of httpkit, control, worker and httpcall.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   api.Tracer
	w3c      propagation.TraceContext
}

// exportTimeout bounds one message to the collector.
const exportTimeout = 10 * time.Second

// New starts a tracer. It does not ask whether the collector is there.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	var process sdk.TracerProviderOption
	if o.Exporter != nil {
		process = sdk.WithSyncer(o.Exporter)
	} else {
		e, err := exporter(ctx, o)
		if err != nil {
			return nil, err
		}
		process = sdk.WithBatcher(&quiet{SpanExporter: e, log: o.Logger}, sdk.WithExportTimeout(exportTimeout))
	}
	res := resource.NewSchemaless(
		attribute.String("service.name", o.Service), attribute.String("service.version", o.Version), attribute.String("service.instance.id", o.Instance),
	)
	p := sdk.NewTracerProvider(process, sdk.WithResource(res), sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.Share))))
	return &Tracer{provider: p, tracer: p.Tracer("github.com/taskweir/taskweir", api.WithInstrumentationVersion(o.Version))}, nil
}

func exporter(ctx context.Context, o Options) (sdk.SpanExporter, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("trace: the endpoint is not an http or https URL")
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
	}
	e, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHeaders(o.Headers),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression), otlptracehttp.WithTimeout(exportTimeout))
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return e, nil
}

// Close sends what is left, as far as ctx allows.
func (t *Tracer) Close(ctx context.Context) error {
	if err := t.provider.Shutdown(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("trace: send the last spans: %w", err)
	}
	return nil
}

// quiet logs a collector that is away once a minute.
type quiet struct {
	sdk.SpanExporter
	log  *slog.Logger
	next atomic.Int64 // since began, ns
	lost atomic.Int64
}

var began = time.Now()

// ExportSpans passes them on; an error is logged here and nowhere else.
func (q *quiet) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	lost := q.lost.Add(int64(len(spans)))
	now, due := int64(time.Since(began)), q.next.Load()
	if now >= due && q.next.CompareAndSwap(due, now+int64(time.Minute)) {
		q.log.Warn("spans were dropped: the collector of traces does not take them", "spans", lost, "err", err)
		q.lost.Add(-lost)
	}
	return nil
}
