package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sampleKey is a valid encryption key.
var sampleKey = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

// splitEnv is the least that a split process needs.
func splitEnv(more ...string) []string {
	return append([]string{
		"PATH=/bin",
		"TASKWEIR_DATABASE_URL=mysql://tw:hunter2hunter2@db:3306/taskweir",
		"TASKWEIR_REDIS_URL=redis://:hunter2hunter2@redis:6379/0",
		"TASKWEIR_NSQ_NSQD=nsq1:4150,nsq2:4150",
		"TASKWEIR_ENCRYPTION_KEY=" + sampleKey,
		"TASKWEIR_CLUSTER_KEY=cluster-key-0123456789",
	}, more...)
}

// write puts a file into a new folder and gives its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t *testing.T, role Role, args, environ []string) *Config {
	t.Helper()
	c, err := Load(role, args, environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problems loads and gives the broken rules, failing when there are none.
func problems(t *testing.T, role Role, args, environ []string) []Problem {
	t.Helper()
	_, err := Load(role, args, environ)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("want *Error, got %v", err)
	}
	return e.Problems
}

func TestStandaloneDefaultsMatchTheContract(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c := mustLoad(t, Standalone, nil, nil)
	want := &Config{
		Role:     Standalone,
		HTTP:     HTTP{Addr: "127.0.0.1:8080"},
		Database: Database{URL: SecretURL("sqlite://" + dir + "/.taskweir/taskweir.db"), MaxConns: 16},
		Outbound: Outbound{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}},
		Worker:   WorkerSettings{Slots: 256, Grace: 2 * time.Second, ZombieAfter: 5 * time.Minute},
		Liveness: Liveness{Beat: 3 * time.Second, DeadAfter: 12 * time.Second},
		Retention: Retention{
			Succeeded: 7 * 24 * time.Hour, Failed: 30 * 24 * time.Hour, Audit: 90 * 24 * time.Hour,
		},
		Log:         Log{Level: slog.LevelInfo, Format: "text"},
		Tracing:     Tracing{SampleRatio: 1},
		Surfaces:    []string{"goodjob", "serendipity"},
		Legacy:      Legacy{Zone: c.Legacy.Zone},
		Serendipity: Serendipity{TokenLife: 30 * 24 * time.Hour},
		DataDir:     filepath.Join(dir, ".taskweir"),
		DrainTime:   10 * time.Second,
	}
	if z := c.Legacy.Zone; z == nil || z.String() != "Asia/Shanghai" {
		t.Errorf("zone %v", z)
	}
	c.origins = nil
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%#v\nwant\n%#v", c, want)
	}
}

func TestOpsAddressDefaultsDifferByRole(t *testing.T) {
	for role, want := range map[Role]string{Scheduler: "127.0.0.1:8081", Worker: "127.0.0.1:8082", API: ""} {
		if got := mustLoad(t, role, nil, splitEnv()).Ops.Addr; got != want {
			t.Errorf("%s: ops address %q, want %q", role, got, want)
		}
	}
	if got := mustLoad(t, Worker, nil, splitEnv()).Outbound.Allow; len(got) != 0 {
		t.Errorf("a split worker may reach %v by default, want nothing private", got)
	}
}

func TestFlagsOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := write(t, "c.yaml", "worker: {slots: 11, grace: 4s}\ndrain_time: 20s\nlog:\n  level: warn\n")
	env := []string{"TASKWEIR_CONFIG=" + file, "TASKWEIR_WORKER_SLOTS=22", "TASKWEIR_DRAIN_TIME=30s", "TASKWEIR_LOG_FORMAT="}
	c := mustLoad(t, Standalone, []string{"--worker-slots=33"}, env)
	if c.Worker.Slots != 33 || c.DrainTime != 30*time.Second || c.Worker.Grace != 4*time.Second || c.Log.Level != slog.LevelWarn {
		t.Errorf("got slots %d, drain %s, grace %s, level %s", c.Worker.Slots, c.DrainTime, c.Worker.Grace, c.Log.Level)
	}
	if c.Log.Format != "text" {
		t.Errorf("an empty variable is not unset: format %q", c.Log.Format)
	}
	for key, want := range map[string]string{
		"worker.slots": "flag --worker-slots", "drain_time": "environment TASKWEIR_DRAIN_TIME",
		"worker.grace": file + ":1", "log.level": file + ":4", "http.addr": "http.addr (TASKWEIR_HTTP_ADDR)",
	} {
		if got := c.Source(key); got != want {
			t.Errorf("source of %s is %q, want %q", key, got, want)
		}
	}
}

func TestConfigFlagHidesConfigVariable(t *testing.T) {
	good := write(t, "good.yaml", "worker: {slots: 5}")
	c := mustLoad(t, Standalone, []string{"--config", good}, []string{"TASKWEIR_CONFIG=/nowhere.yaml"})
	if c.Worker.Slots != 5 {
		t.Errorf("slots %d, want 5", c.Worker.Slots)
	}
	got := problems(t, Standalone, nil, []string{"TASKWEIR_CONFIG=/nowhere.yaml"})
	if len(got) != 1 || got[0].Source != "environment TASKWEIR_CONFIG" || !strings.Contains(got[0].Text, "/nowhere.yaml") {
		t.Errorf("got %v", got)
	}
}

func TestEveryBrokenRuleIsNamedWithItsSource(t *testing.T) {
	file := write(t, "c.yaml", strings.Join([]string{
		"worker:", "  slots: 0", "  slotz: 5", "drain_time: soon", "frobnicate: {a: 1}", "empty_group: {}", "log: 7",
	}, "\n"))
	got := problems(t, Standalone, []string{"--http-addr=8080"}, []string{
		"TASKWEIR_CONFIG=" + file, "TASKWEIR_WORKER_SLOT=5", "TASKWEIR_OUTBOUND_ALLOW=10.0.0.1/8", "TASKWEIR_BOOTSTRAP_KEY=short",
	})
	want := []string{
		"TASKWEIR_WORKER_SLOT (environment): is no setting; did you mean TASKWEIR_WORKER_SLOTS?",
		"worker.slotz (" + file + ":3): is no setting; did you mean worker.slots?",
		"frobnicate (" + file + ":5): is no setting",
		"empty_group (" + file + ":6): is no setting",
		"log (" + file + ":7): must hold settings, one a line",
		`http.addr (flag --http-addr): must be host:port, is "8080"`,
		"bootstrap_key (environment TASKWEIR_BOOTSTRAP_KEY): must have 16 to 128 characters, has 5",
		"outbound.allow (environment TASKWEIR_OUTBOUND_ALLOW): 10.0.0.1/8 has address bits beyond its length; the network is 10.0.0.0/8",
		"worker.slots (" + file + `:2): must be a whole number from 1 to 10000, is "0"`,
		"drain_time (" + file + `:4): must be a duration like 10s, 5m, 24h or 7d, is "soon"`,
	}
	var texts []string
	for _, p := range got {
		texts = append(texts, p.String())
	}
	if !reflect.DeepEqual(texts, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(want, "\n"))
	}
}

func TestSplitRolesRefuseToStartWithoutTheirKeysAndAddresses(t *testing.T) {
	for role, want := range map[Role][]string{
		API:       {"database.url", "redis.url", "nsq.nsqd", "encryption_key", "cluster_key"},
		Scheduler: {"database.url", "redis.url", "nsq.nsqd", "encryption_key", "cluster_key"},
		Worker:    {"database.url", "redis.url", "encryption_key", "cluster_key", "nsq.nsqd"},
	} {
		var keys []string
		for _, p := range problems(t, role, nil, nil) {
			keys = append(keys, p.Key)
			if !strings.Contains(p.Text, "TASKWEIR_") {
				t.Errorf("%s: %s does not say how to set it", role, p)
			}
		}
		if !reflect.DeepEqual(keys, want) {
			t.Errorf("%s misses %v, want %v", role, keys, want)
		}
	}
	env := append(splitEnv()[1:3:3], "TASKWEIR_NSQ_LOOKUPD=l:4161", "TASKWEIR_ENCRYPTION_KEY="+sampleKey, "TASKWEIR_CLUSTER_KEY=cluster-key-0123456789")
	mustLoad(t, Worker, nil, env)
}

func TestSettingOfAnotherRoleIsIgnored(t *testing.T) {
	file := write(t, "c.yaml", "worker: {slots: not-a-number}\nhttp: {addr: nonsense}\n")
	env := splitEnv("TASKWEIR_CONFIG="+file, "TASKWEIR_URL=nonsense", "TASKWEIR_API_KEY=x")
	if c := mustLoad(t, Scheduler, nil, env); c.Worker.Slots != 0 || c.URL != "" {
		t.Errorf("another role's setting came through: %+v", c.Worker)
	}
}

func TestForeignNamesPassAndUnknownOnesDoNot(t *testing.T) {
	mustLoad(t, Standalone, nil, []string{
		"TASKWEIR_TEST_MYSQL=x", "TASKWEIR_SERVICE_HOST=10.0.0.1", "TASKWEIR_PORT=tcp://10.0.0.1:80", "TASKWEIR_API_SERVICE_PORT_HTTP=80",
		"TASKWEIR_PORT_8080_TCP_ADDR=10.0.0.1", "TASKWEIRD=1",
	})
	for _, name := range []string{"TASKWEIR_PORTS", "TASKWEIR_HTTP_ADRESS", "TASKWEIR_http_addr", "TASKWEIR_", "TASKWEIR_WORKER_SLOTS_FILE"} {
		if got := problems(t, Standalone, nil, []string{name + "=1"}); len(got) != 1 || got[0].Key != name {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestSecretsComeFromFilesOfEveryLayer(t *testing.T) {
	keyFile := write(t, "key", sampleKey+"\n")
	cluster := write(t, "cluster", "cluster-from-file-0123\r\n")
	file := write(t, "c.yaml", "encryption_key_file: "+keyFile+"\n")
	c := mustLoad(t, Standalone, []string{"--bootstrap-key-file", cluster}, []string{"TASKWEIR_CONFIG=" + file, "TASKWEIR_CLUSTER_KEY_FILE=" + cluster})
	if c.ClusterKey.Reveal() != "cluster-from-file-0123" || c.BootstrapKey != c.ClusterKey || string(c.EncryptionKey[:3]) != "012" {
		t.Errorf("got %q, %q", c.ClusterKey.Reveal(), c.BootstrapKey.Reveal())
	}
	c = mustLoad(t, Standalone, nil, []string{"TASKWEIR_CONFIG=" + file, "TASKWEIR_ENCRYPTION_KEY=" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("z", 32)))})
	if c.EncryptionKey[0] != 'z' {
		t.Error("a value of the environment does not hide a file of the file")
	}
	for name, env := range map[string][]string{
		"is given twice":     {"TASKWEIR_CLUSTER_KEY=cluster-key-0123456789", "TASKWEIR_CLUSTER_KEY_FILE=" + cluster},
		"no such file":       {"TASKWEIR_CLUSTER_KEY_FILE=/nowhere"},
		"the file is empty":  {"TASKWEIR_CLUSTER_KEY_FILE=" + write(t, "empty", "\n")},
		"is larger than":     {"TASKWEIR_CLUSTER_KEY_FILE=" + write(t, "big", strings.Repeat("x", 5000))},
		"is a directory":     {"TASKWEIR_CLUSTER_KEY_FILE=" + t.TempDir()},
		"printable ASCII":    {"TASKWEIR_CLUSTER_KEY_FILE=" + write(t, "space", "sixteen or more letters")},
		"must be random":     {"TASKWEIR_ENCRYPTION_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))},
		"has 31 bytes":       {"TASKWEIR_ENCRYPTION_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 31))},
		"is no base64":       {"TASKWEIR_ENCRYPTION_KEY=???"},
		"has 16 to 128 char": nil,
	} {
		if env == nil {
			continue
		}
		got := problems(t, Standalone, nil, env)
		if len(got) != 1 || !strings.Contains(got[0].Text, name) {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	secrets := []string{"hunter2hunter2", sampleKey, "cluster-key-0123456789", "bootstrap-key-0123456789", "0123456789abcdef"}
	c := mustLoad(t, API, nil, splitEnv("TASKWEIR_BOOTSTRAP_KEY=bootstrap-key-0123456789"))
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("started", "config", c, "key", c.EncryptionKey, "db", c.Database.URL, "cluster", c.ClusterKey)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		_, _ = fmt.Fprintf(&log, verb, c)
		_, _ = fmt.Fprintf(&log, verb, *c)
		_, _ = fmt.Fprintf(&log, verb, c.EncryptionKey)
	}
	for _, s := range c.Show() {
		log.WriteString(s.Value + s.Source)
	}
	_, err := Load(API, nil, []string{
		"TASKWEIR_DATABASE_URL=postgres://tw:hunter2hunter2@db/x", "TASKWEIR_REDIS_URL=redis://:hunter2hunter2@%zz/", "TASKWEIR_CLUSTER_KEY=cluster-key-0123456789\x01",
		"TASKWEIR_BOOTSTRAP_KEY=bootstrap-key-0123456789\x7f", "TASKWEIR_ENCRYPTION_KEY=" + sampleKey + "x", "TASKWEIR_NSQ_NSQD=a:1",
	})
	log.WriteString(err.Error())
	for _, s := range secrets {
		if strings.Contains(log.String(), s) || strings.Contains(log.String(), fmt.Sprintf("%x", s)) {
			t.Errorf("%q was printed:\n%s", s, log.String())
		}
	}
	if !strings.Contains(log.String(), "tw:xxxxx@db:3306") {
		t.Error("an address without its password is not shown")
	}
}

func TestAddressesAreShownWithoutTheirSecrets(t *testing.T) {
	for address, want := range map[SecretURL]string{
		"":                                   "",
		"nonsense":                           redacted,
		"sqlite:///home/a@b/taskweir.db":     "sqlite:///home/a@b/taskweir.db",
		"mysql://root@db/taskweir":           "mysql://root@db/taskweir",
		"mysql://tw:p%40ss@db:3306/taskweir": "mysql://tw:xxxxx@db:3306/taskweir",
		"mysql://tw:p/ss@db:3306/taskweir":   "mysql://" + redacted,
		"redis://:pass@a:1,b:2/0":            "redis://:xxxxx@a:1,b:2/0",
		"redis://h/0?sentinel_password=pass": "redis://h/0?...",
		"redis://h/0?sentinel_password=p@ss": "redis://" + redacted,
		"redis://u:p@ss@h:6379":              "redis://u:xxxxx@h:6379",
	} {
		if got := address.String(); got != want {
			t.Errorf("%s is shown as %s, want %s", address.Reveal(), got, want)
		}
	}
	for _, good := range []string{"redis-sentinel://a:1,b:2/0?master=m", "rediss-cluster://a:1,b:2", "redis://:p@h:1/3"} {
		mustLoad(t, API, nil, splitEnv("TASKWEIR_REDIS_URL="+good))
	}
}

func TestValuesAreCheckedByTheirRange(t *testing.T) {
	for _, c := range []struct{ env, rule string }{
		{"TASKWEIR_DATABASE_URL=postgres://a/b", "must begin with mysql:// or sqlite:///"},
		{"TASKWEIR_DATABASE_URL=sqlite://relative/path", "three slashes"},
		{"TASKWEIR_DATABASE_URL=mysql://host", "mysql://user:password@host:port/name"},
		{"TASKWEIR_REDIS_URL=http://x", "must begin with redis://"},
		{"TASKWEIR_REDIS_URL=redis:///0", "host:port/number"},
		{"TASKWEIR_NSQ_NSQD=http://nsqd:4150", "no scheme"},
		{"TASKWEIR_NSQ_NSQD=a:4150,,b:4150", "empty entry"},
		{"TASKWEIR_NSQ_NSQD=a:4150, a:4150", "twice"},
		{"TASKWEIR_NSQ_NSQD=a:0", "port 1 to 65535"},
		{"TASKWEIR_NSQ_TLS=maybe", "true or false"},
		{"TASKWEIR_NSQ_TLS_CA=/ca.pem", "only with nsq.tls"},
		{"TASKWEIR_NSQ_TLS_CERT=/c.pem", "nsq.tls_key"},
		{"TASKWEIR_HTTP_ADDR=:99999", "0 to 65535"},
		{"TASKWEIR_WORKER_QUEUES=Mail", "a-z"},
		{"TASKWEIR_WORKER_SHELL=yep", "true or false"},
		{"TASKWEIR_LIVENESS_BEAT=5s", "at least 4 × liveness.beat"},
		{"TASKWEIR_RETENTION_FAILED=10s", "from 1m"},
		{"TASKWEIR_RETENTION_FAILED=4000d", "3650d"},
		{"TASKWEIR_LOG_LEVEL=loud", "debug, info, warn, error"},
		{"TASKWEIR_DATABASE_MAX_CONNS=1e3", "whole number"},
	} {
		got := problems(t, Standalone, nil, []string{c.env})
		found := false
		for _, p := range got {
			found = found || strings.Contains(p.Text, c.rule)
		}
		if !found {
			t.Errorf("%s: %v does not name %q", c.env, got, c.rule)
		}
	}
}

func TestListsAreEmptiedAndFilled(t *testing.T) {
	for _, c := range []struct {
		args, env []string
		yaml      string
		want      int
	}{
		{nil, nil, "", 2},
		{nil, []string{"TASKWEIR_OUTBOUND_ALLOW=none"}, "", 0},
		{[]string{"--outbound-allow="}, nil, "", 0},
		{nil, nil, "outbound: {allow: []}", 0},
		{nil, nil, "outbound: {allow: [10.0.0.0/8, 192.168.0.0/16, fd00::/8]}", 3},
		{nil, nil, "outbound:\n  allow: 10.0.0.0/8, 192.168.0.0/16", 2},
		{nil, nil, "outbound:\n  allow:\n", 2},
	} {
		env := append(c.env, "TASKWEIR_CONFIG="+write(t, "c.yaml", c.yaml))
		if got := mustLoad(t, Standalone, c.args, env).Outbound.Allow; len(got) != c.want {
			t.Errorf("%+v: %d networks, want %d", c, len(got), c.want)
		}
	}
}

func TestArgumentsThatAreNoFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"serve"}, {"--cluster-key=abcdefghijklmnopq"}, {"--slots=5"}} {
		if _, err := Load(Standalone, args, nil); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
	_, err := Load(Worker, []string{"--help"}, nil)
	if !errors.Is(err, ErrHelp) || !strings.Contains(err.Error(), "--worker-slots") {
		t.Errorf("--help gave %v", err)
	}
	if u := Usage(Worker); !strings.Contains(u, "--worker-slots") || strings.Contains(u, "--http-addr") {
		t.Errorf("usage of the worker:\n%s", u)
	}
}
