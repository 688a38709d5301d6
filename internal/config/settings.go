package config

import (
	"strings"
)

// prefix begins every environment name.
const prefix = "TASKWEIR_"

// Setting describes one setting. Everything that names settings is made from these: flags, environment, file, documents.
type Setting struct {
	Key      string // in the file: dots separate levels
	Type     string // as shown in help and documents
	Default  string // as text; see Defaults for those that differ by role
	Defaults map[Role]string
	Roles    Role
	Required Role   // roles that refuse to start without it
	Secret   bool   // may come from a file, never printed
	NoFlag   bool   // no flag of its own, only --name-file
	List     bool   // comma list, or a YAML list in the file
	Range    string // what is allowed, for documents
	Doc      string // one sentence
	Hint     string // how to get a required one

	set func(c *Config, text string) error // parses, checks and stores; errors never repeat a secret
}

// Env is the setting's name in the environment.
func (s Setting) Env() string {
	return prefix + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))
}

// Flag is the name of the setting's flag without dashes.
func (s Setting) Flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(s.Key) }

// DefaultFor is the default in a role, as text.
func (s Setting) DefaultFor(r Role) string {
	if d, ok := s.Defaults[r]; ok {
		return d
	}
	return s.Default
}

// Settings lists every setting, in the order of the documents.
func Settings() []Setting {
	return []Setting{
		{
			Key: "http.addr", Type: "host:port", Default: "127.0.0.1:8080", Roles: API | Standalone,
			Range: "port 0 picks a free one",
			Doc:   "Where the API listens; standalone serves everything here.",
			set:   func(c *Config, t string) error { return parseListen(&c.HTTP.Addr, t) },
		},
		{
			Key: "http.cors_origins", Type: "origins", Roles: API | Standalone, List: true, Range: "origins like `https://ops.example.com`, or `*` for any",
			Doc: "Pages of these origins may call the API from browsers, with a key of their own; cookies are never taken.",
			set: func(c *Config, t string) error { return parseOrigins(&c.HTTP.CORSOrigins, t) },
		},
		{
			Key: "ops.addr", Type: "host:port", Roles: Scheduler | Worker,
			Defaults: map[Role]string{Scheduler: "127.0.0.1:8081", Worker: "127.0.0.1:8082"},
			Range:    "port 0 picks a free one",
			Doc:      "Where health, metrics and pprof are served.",
			set:      func(c *Config, t string) error { return parseListen(&c.Ops.Addr, t) },
		},
		{
			Key: "database.url", Type: "url", Roles: serves | Operator, Required: split, Secret: true,
			Range: "`mysql://user:password@host:port/name` or `sqlite:///absolute/path`",
			Doc:   "The durable store. Standalone, and the operator's commands beside it, use `taskweir.db` in the data folder unless this is set.",
			Hint:  "for example mysql://taskweir:PASSWORD@127.0.0.1:3306/taskweir",
			set:   func(c *Config, t string) error { return parseDatabaseURL(&c.Database.URL, t) },
		},
		{
			Key: "database.max_conns", Type: "number", Default: "16", Roles: serves,
			Range: "2 to 1000",
			Doc:   "Connections of this process to a MySQL or MariaDB server; SQLite has its own rule.",
			set:   func(c *Config, t string) error { return parseInt(&c.Database.MaxConns, t, 2, 1000) },
		},
		{
			Key: "redis.url", Type: "url", Roles: serves | Operator, Required: split, Secret: true,
			Range: "`redis://`, `redis-sentinel://…?master=name` or `redis-cluster://`; with TLS `rediss…://`",
			Doc:   "The live view. Standalone runs an embedded one unless this is set.",
			Hint:  "for example redis://127.0.0.1:6379/0",
			set:   func(c *Config, t string) error { return parseRedisURL(&c.Redis.URL, t) },
		},
		{
			Key: "nsq.nsqd", Type: "addresses", Roles: serves | Operator, Required: API | Scheduler, List: true,
			Range: "up to 64 × host:port (TCP)",
			Doc:   "The nsqd that messages are published to; workers consume from them too unless `nsq.lookupd` is set. Standalone runs an embedded one unless this is set.",
			Hint:  "for example 127.0.0.1:4150",
			set:   func(c *Config, t string) error { return parseAddrs(&c.NSQ.Nsqd, t) },
		},
		{
			Key: "nsq.lookupd", Type: "addresses", Roles: serves | Operator, List: true,
			Range: "up to 64 × host:port (HTTP)",
			Doc:   "The nsqlookupd where workers find every nsqd.",
			set:   func(c *Config, t string) error { return parseAddrs(&c.NSQ.Lookupd, t) },
		},
		{
			Key: "nsq.tls", Type: "true or false", Default: "false", Roles: serves | Operator,
			Doc: "Use TLS (1.2 or newer, certificates verified) to every nsqd.",
			set: func(c *Config, t string) error { return parseBool(&c.NSQ.TLS, t) },
		},
		{
			Key: "nsq.tls_ca", Type: "file", Roles: serves | Operator, Range: "PEM; needs `nsq.tls`",
			Doc: "Authorities that sign the certificates of nsqd; the system's unless this is set.",
			set: func(c *Config, t string) error { return parseFile(&c.NSQ.TLSCA, t) },
		},
		{
			Key: "nsq.tls_cert", Type: "file", Roles: serves | Operator, Range: "PEM; together with `nsq.tls_key`",
			Doc: "Certificate that this process shows to nsqd.",
			set: func(c *Config, t string) error { return parseFile(&c.NSQ.TLSCert, t) },
		},
		{
			Key: "nsq.tls_key", Type: "file", Roles: serves | Operator, Range: "PEM; together with `nsq.tls_cert`",
			Doc: "Private key of that certificate.",
			set: func(c *Config, t string) error { return parseFile(&c.NSQ.TLSKey, t) },
		},
		{
			Key: "nsq.auth_secret", Type: "text", Roles: serves | Operator, Secret: true, NoFlag: true, Range: "1 to 1024 printable characters",
			Doc: "Secret sent with AUTH to nsqd that ask for it.",
			set: func(c *Config, t string) error { return parsePrintable(&c.NSQ.AuthSecret, t, 1, 1024) },
		},
		{
			Key: "data_dir", Type: "folder", Roles: serves | CLI | Operator,
			Defaults: map[Role]string{Standalone: ".taskweir", CLI: ".taskweir", Operator: ".taskweir"},
			Doc:      "Folder of everything embedded and of the keys that standalone makes; relative paths start at the working directory. Split processes keep nothing here unless their database is SQLite.",
			set:      func(c *Config, t string) error { return parseDir(&c.DataDir, t) },
		},
		{
			Key: "bootstrap_key", Type: "text", Roles: API | Standalone | Operator, Secret: true, NoFlag: true, Range: "16 to 128 printable characters",
			Doc: "API key with scope admin of the app `default`, taken over at every start. Standalone makes one unless this is set.",
			set: func(c *Config, t string) error { return parsePrintable(&c.BootstrapKey, t, 16, 128) },
		},
		{
			Key: "encryption_key", Type: "base64", Roles: serves | Operator, Required: split, Secret: true, NoFlag: true, Range: "base64 of 32 bytes",
			Doc:  "Seals the secrets kept in the database; the same for all processes. Standalone makes one unless this is set.",
			Hint: "make one with: head -c 32 /dev/urandom | base64",
			set:  func(c *Config, t string) error { return parseKey(&c.EncryptionKey, t) },
		},
		{
			Key: "cluster_key", Type: "text", Roles: serves | Operator, Required: split, Secret: true, NoFlag: true, Range: "16 to 128 printable characters",
			Doc:  "Signs the messages between processes; the same for all of them. Standalone makes one unless this is set.",
			Hint: "make one with: head -c 32 /dev/urandom | base64",
			set:  func(c *Config, t string) error { return parsePrintable(&c.ClusterKey, t, 16, 128) },
		},
		{
			Key: "surfaces", Type: "names", Roles: API | Standalone, List: true,
			Defaults: map[Role]string{Standalone: surfaceList},
			Range:    surfaceList,
			Doc:      "Legacy APIs that are served beside `/v1`, each below its name: `/goodjob`, `/serendipity`.",
			set:      func(c *Config, t string) error { return parseSurfaces(&c.Surfaces, t) },
		},
		{
			Key: "legacy.root", Type: "names", Roles: API | Standalone, List: true,
			Range: "names of `surfaces`",
			Doc:   "Those of `surfaces` that are also served without their prefix.",
			set:   func(c *Config, t string) error { return parseSurfaces(&c.Legacy.Root, t) },
		},
		{
			Key: "legacy.zone", Type: "zone", Default: "Asia/Shanghai", Roles: API | Worker | Standalone, Range: "an IANA name",
			Doc: "Zone of date-times without one, in and out, on every legacy API. The same for all processes.",
			set: func(c *Config, t string) error { return parseZone(&c.Legacy.Zone, t) },
		},
		{
			Key: "serendipity.classes", Type: "pairs", Roles: API | Standalone, List: true, Range: "up to 256 × `Class=kind`",
			Doc: "Kinds of tasks that run the contents of Serendipity-job whose `class` has that name, whole or its last part; contents of other classes are sent to the app.",
			set: func(c *Config, t string) error { return parseClasses(&c.Serendipity.Classes, t) },
		},
		{
			Key: "serendipity.token_life", Type: "duration", Default: "30d", Roles: API | Standalone, Range: "1m to 3650d",
			Doc: "How long the signed headers that Serendipity-job gives out are taken.",
			set: func(c *Config, t string) error { return parseDuration(&c.Serendipity.TokenLife, t, 60*second, "3650d") },
		},
		{
			Key: "outbound.allow", Type: "networks", Roles: Worker | Standalone, List: true,
			Defaults: map[Role]string{Standalone: "127.0.0.0/8,::1/128"},
			Range:    "up to 256 CIDRs",
			Doc:      "Networks that outgoing calls may reach although they are private or loopback.",
			set:      func(c *Config, t string) error { return parsePrefixes(&c.Outbound.Allow, t) },
		},
		{
			Key: "outbound.endpoint_calls", Type: "number", Default: "0", Roles: Worker | Standalone, Range: "0 to 10000; 0 is half of the slots",
			Doc: "Calls of this worker to one endpoint of one app at once.",
			set: func(c *Config, t string) error { return parseInt(&c.Outbound.EndpointCalls, t, 0, 10_000) },
		},
		{
			Key: "outbound.breaker_legacy", Type: "true or false", Default: "false", Roles: Worker | Standalone,
			Doc: "Circuit breakers hold back callbacks of legacy surfaces too, although their documents promise when an attempt is made.",
			set: func(c *Config, t string) error { return parseBool(&c.Outbound.BreakerLegacy, t) },
		},
		{
			Key: "worker.queues", Type: "names", Roles: Worker | Standalone, List: true,
			Range: "up to 256 names, 1 to 40 of `a-z0-9_-`",
			Doc:   "Queues this worker serves; all, also new ones, unless this is set.",
			set:   func(c *Config, t string) error { return parseQueues(&c.Worker.Queues, t) },
		},
		{
			Key: "worker.slots", Type: "number", Default: "256", Roles: Worker | Standalone, Range: "1 to 10000",
			Doc: "Tasks this worker runs at once.",
			set: func(c *Config, t string) error { return parseInt(&c.Worker.Slots, t, 1, 10_000) },
		},
		{
			Key: "worker.shell", Type: "true or false", Default: "false", Roles: Worker | Standalone,
			Doc: "Run tasks of kind `shell`: whoever may submit one runs commands as this process's user.",
			set: func(c *Config, t string) error { return parseBool(&c.Worker.Shell, t) },
		},
		{
			Key: "worker.shell_slots", Type: "number", Default: "0", Roles: Worker | Standalone, Range: "0 to 10000; 0 is twice the number of CPUs",
			Doc: "Tasks of kind `shell` at once.",
			set: func(c *Config, t string) error { return parseInt(&c.Worker.ShellSlots, t, 0, 10_000) },
		},
		{
			Key: "worker.grace", Type: "duration", Default: "2s", Roles: Worker | Standalone, Range: "0s to 5m",
			Doc: "How long a cancelled or timed-out task may take to end before it is killed.",
			set: func(c *Config, t string) error { return parseDuration(&c.Worker.Grace, t, 0, "5m") },
		},
		{
			Key: "worker.zombie_after", Type: "duration", Default: "5m", Roles: Worker | Standalone, Range: "1s to 24h",
			Doc: "How long a handler that ignores its end is waited for before its attempt is closed without it.",
			set: func(c *Config, t string) error { return parseDuration(&c.Worker.ZombieAfter, t, second, "24h") },
		},
		{
			Key: "drain_time", Type: "duration", Default: "10s", Roles: serves, Range: "0s to 1h",
			Doc: "How long SIGTERM lets requests and tasks finish before they are cancelled.",
			set: func(c *Config, t string) error { return parseDuration(&c.DrainTime, t, 0, "1h") },
		},
		{
			Key: "liveness.beat", Type: "duration", Default: "3s", Roles: Scheduler | Worker | Standalone, Range: "500ms to 1m",
			Doc: "How often a worker renews its row. The same for all processes.",
			set: func(c *Config, t string) error { return parseDuration(&c.Liveness.Beat, t, second/2, "1m") },
		},
		{
			Key: "liveness.dead_after", Type: "duration", Default: "12s", Roles: Scheduler | Worker | Standalone, Range: "2s to 10m, at least 4 × `liveness.beat`",
			Doc: "How long a scheduler watches an unchanged beat before it declares the worker dead. The same for all processes.",
			set: func(c *Config, t string) error { return parseDuration(&c.Liveness.DeadAfter, t, 2*second, "10m") },
		},
		{
			Key: "retention.succeeded", Type: "duration", Default: "7d", Roles: Scheduler | Standalone, Range: "1m to 3650d",
			Doc: "How long succeeded tasks are kept.",
			set: func(c *Config, t string) error { return parseDuration(&c.Retention.Succeeded, t, 60*second, "3650d") },
		},
		{
			Key: "retention.failed", Type: "duration", Default: "30d", Roles: Scheduler | Standalone, Range: "1m to 3650d",
			Doc: "How long failed and cancelled tasks are kept.",
			set: func(c *Config, t string) error { return parseDuration(&c.Retention.Failed, t, 60*second, "3650d") },
		},
		{
			Key: "retention.audit", Type: "duration", Default: "90d", Roles: Scheduler | Standalone, Range: "1m to 3650d",
			Doc: "How long the audit trail is kept.",
			set: func(c *Config, t string) error { return parseDuration(&c.Retention.Audit, t, 60*second, "3650d") },
		},
		{
			Key: "log.level", Type: "name", Default: "info", Roles: serves, Range: "debug, info, warn, error",
			Doc: "The least important lines that are logged.",
			set: func(c *Config, t string) error { return parseLevel(&c.Log.Level, t) },
		},
		{
			Key: "log.format", Type: "name", Default: "json", Roles: serves, Range: "text, json",
			Defaults: map[Role]string{Standalone: "text"},
			Doc:      "How lines are written to standard error.",
			set:      func(c *Config, t string) error { return parseOneOf(&c.Log.Format, t, "text", "json") },
		},
		{
			Key: "tracing.endpoint", Type: "url", Roles: serves, Range: "http or https",
			Doc: "Base address of an OpenTelemetry collector that takes OTLP over HTTP; `/v1/traces` is added unless it has a path. Nothing is traced unless this is set.",
			set: func(c *Config, t string) error { return parseCollector(&c.Tracing.Endpoint, t) },
		},
		{
			Key: "tracing.headers", Type: "pairs", Roles: serves, Secret: true, NoFlag: true, Range: "up to 16 × `Name=value`, separated by commas",
			Doc: "Headers sent to the collector, for its credential.",
			set: func(c *Config, t string) error { return parseHeaders(&c.Tracing.Headers, t) },
		},
		{
			Key: "tracing.sample_ratio", Type: "number", Default: "1", Roles: serves, Range: "0 to 1",
			Doc: "Share of the requests that are traced when their caller has not decided; a task is traced as the request that submitted it.",
			set: func(c *Config, t string) error { return parseRatio(&c.Tracing.SampleRatio, t) },
		},
		{
			Key: "context", Type: "text", Roles: CLI, Range: "a name that `taskweir context set` made",
			Doc: "Named server and API key for the command line, instead of `url` and `api_key`. Without any of them: the one that `taskweir context use` chose.",
			set: func(c *Config, t string) error { c.Context = t; return nil },
		},
		{
			Key: "url", Type: "url", Roles: CLI, Range: "http or https",
			Doc: "Base address of the API for the command line. Without it: the standalone of the data folder, else `http://127.0.0.1:8080`.",
			set: func(c *Config, t string) error { return parseBaseURL(&c.URL, t) },
		},
		{
			Key: "api_key", Type: "text", Roles: CLI, Secret: true, NoFlag: true, Range: "16 to 128 printable characters",
			Doc: "API key for the command line. Without it: the standalone's own, if `url` is its address.",
			set: func(c *Config, t string) error { return parsePrintable(&c.APIKey, t, 16, 128) },
		},
	}
}
