package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config is what a process was told. Only the fields of its role are set; the others are zero.
type Config struct {
	// Role is the process's one role.
	Role Role

	HTTP      HTTP
	Ops       Ops
	Database  Database
	Redis     Redis
	NSQ       NSQ
	Outbound  Outbound
	Worker    WorkerSettings
	Liveness  Liveness
	Retention Retention
	Log       Log
	Tracing   Tracing

	// Surfaces are the legacy APIs that are served (api, standalone).
	Surfaces    []string
	Legacy      Legacy
	Serendipity Serendipity

	// DataDir is an absolute path; empty in a split process that was given none.
	DataDir string
	// DrainTime is how long SIGTERM lets work finish before it is cancelled.
	DrainTime time.Duration

	// BootstrapKey is an API key with scope admin of the app "default". Not set: none (api), or made by the process (standalone).
	BootstrapKey Secret
	// EncryptionKey seals secrets at rest. Always set in split processes; standalone makes a missing one.
	EncryptionKey Key
	// ClusterKey signs the messages between processes. Always set in split processes; standalone makes a missing one.
	ClusterKey Secret

	// Context names a server and key that the command line keeps; empty: the one in use, if any (CLI).
	Context string
	// URL is the base address of the API (CLI), without a trailing slash.
	URL string
	// APIKey is the credential of the CLI.
	APIKey Secret

	origins map[string]origin
}

// Tracing is where OpenTelemetry spans go.
type Tracing struct {
	Endpoint    string // base URL of an OTLP/HTTP collector; empty: nothing is traced
	Headers     Secret // Name=value pairs, separated by commas, for the collector
	SampleRatio float64
}

// HTTP is the public listener (api, standalone).
type HTTP struct {
	Addr        string   // host:port; port 0 picks a free one
	CORSOrigins []string // of pages that may call from browsers, in lower case; "*" alone: any
}

// Ops is the listener for health, metrics and pprof (scheduler, worker).
type Ops struct {
	Addr string
}

// Database is the durable store.
type Database struct {
	// URL is sqlite:///absolute/path or mysql://user:password@host:port/name. Standalone and operator commands default to
	// taskweir.db in the data folder.
	URL      SecretURL
	MaxConns int // connections of this process to a MySQL server
}

// Redis is the live view. An empty URL in standalone means the embedded one.
type Redis struct {
	URL SecretURL
}

// NSQ is the doorbell. No address at all in standalone means the embedded nsqd.
type NSQ struct {
	Nsqd       []string // TCP host:port
	Lookupd    []string // HTTP host:port
	TLS        bool     // TLS to every nsqd
	TLSCA      string   // PEM file of the authorities; empty: the system's
	TLSCert    string   // PEM file of the client certificate
	TLSKey     string   // PEM file of its key
	AuthSecret Secret   // AUTH to every nsqd
}

// Outbound limits what tasks may call.
type Outbound struct {
	// Allow are networks that outgoing calls may reach although they are private or loopback.
	Allow []netip.Prefix
	// EndpointCalls is how many calls one endpoint of one app gets at once from this worker; 0: half of the slots.
	EndpointCalls int
	// BreakerLegacy makes circuit breakers hold for callbacks of legacy surfaces too.
	BreakerLegacy bool
}

// Legacy is what the legacy APIs share.
type Legacy struct {
	Root []string       // those of Surfaces that are served without their prefix too
	Zone *time.Location // of date-times without a zone
}

// Serendipity is what the Serendipity-job API has of its own.
type Serendipity struct {
	Classes   map[string]string // content.class to the kind of task that runs it
	TokenLife time.Duration     // how long signed headers are taken in token mode
}

// WorkerSettings are the worker's own.
type WorkerSettings struct {
	Queues      []string // queues to serve; nil: all
	Slots       int      // tasks at once
	Shell       bool     // run tasks of kind shell
	ShellSlots  int      // shell tasks at once
	Grace       time.Duration
	ZombieAfter time.Duration
}

// Liveness is how death of a worker is noticed.
type Liveness struct {
	Beat      time.Duration
	DeadAfter time.Duration
}

// Retention is how long final tasks and the audit trail are kept.
type Retention struct {
	Succeeded time.Duration
	Failed    time.Duration // failed and cancelled
	Audit     time.Duration // entries of the audit trail
}

// Log is what is logged, and how.
type Log struct {
	Level  slog.Level
	Format string // text or json
}
