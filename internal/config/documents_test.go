package config

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of settings into the documents")

const (
	tableBegin = `<!-- settings: begin; made by "make docs" -->` + "\n"
	tableEnd   = "<!-- settings: end -->"
)

func TestDocumentsShowEverySetting(t *testing.T) {
	for _, path := range []string{"../../docs/configuration.md", "../../README.md"} {
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is missing", path)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		head, rest, ok := strings.Cut(string(raw), tableBegin)
		old, tail, ok2 := strings.Cut(rest, tableEnd)
		if !ok || !ok2 {
			t.Errorf("%s has no place for the table of settings:\n%s%s", path, tableBegin, tableEnd)
			continue
		}
		if old == Markdown() {
			continue
		}
		if !*update {
			t.Errorf("the table of settings in %s is not up to date: run make docs", path)
			continue
		}
		if err := os.WriteFile(path, []byte(head+tableBegin+Markdown()+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// example reads the shipped file with its folders replaced by one that has the secrets.
func example(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../deploy/taskweir.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"encryption.key": sampleKey, "cluster.key": sampleKey, "bootstrap.key": sampleKey, "api.key": sampleKey, "nsq-auth-secret": "s3cret", "collector.headers": "X-Key=k",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return regexp.MustCompile(`/etc/taskweir|/home/me/.config/taskweir`).ReplaceAllLiteralString(string(raw), dir)
}

func TestExampleFileServesEveryProcess(t *testing.T) {
	file := write(t, "taskweir.yaml", example(t))
	for _, role := range []Role{API, Scheduler, Worker, Standalone, CLI, Operator} {
		c := mustLoad(t, role, []string{"--config", file}, nil)
		for _, s := range Settings() {
			if d := s.DefaultFor(role); d != "" && c.origins[s.Key].source != fromDefault && s.Roles.Has(role) {
				t.Errorf("%s: the example changes %s although its default is good", role, s.Key)
			}
		}
	}
}

func TestExampleFileNamesEverySettingWithItsDefault(t *testing.T) {
	text := regexp.MustCompile(`(?m)^( *)# ((?:  )*(?:[a-z_]+:(?: .*)?|- .*))$`).ReplaceAllString(example(t), "$1$2")
	text = regexp.MustCompile(`(?m)^ *(url_file: .*)\n`).ReplaceAllString(text, "")
	text = strings.Replace(text, "tls: false", "tls: true", 1) // the files beside it are refused without it
	file := write(t, "taskweir.yaml", text)
	named := map[string]bool{}
	for _, role := range []Role{API, Scheduler, Worker, CLI, Operator} {
		c := mustLoad(t, role, []string{"--config", file}, nil)
		for _, s := range Settings() {
			if !s.Roles.Has(role) || c.origins[s.Key].source == fromDefault {
				continue
			}
			named[s.Key] = true
			def, got := s.DefaultFor(role), c.origins[s.Key].text
			if def != "" && got != def && s.Key != "nsq.tls" && s.Key != "ops.addr" && s.Key != "data_dir" {
				t.Errorf("%s: the example says %s, the default is %s", s.Key, got, def)
			}
		}
	}
	for _, s := range Settings() {
		if !named[s.Key] {
			t.Errorf("the example does not show %s", s.Key)
		}
	}
}

func TestNamesFollowTheKeys(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Settings() {
		for _, name := range []string{s.Env(), s.Flag()} {
			if seen[name] {
				t.Errorf("%s stands for two settings", name)
			}
			seen[name] = true
		}
		if s.Doc == "" || !strings.HasSuffix(s.Doc, ".") || s.Roles == 0 || s.NoFlag && !s.Secret || s.Required&^s.Roles != 0 {
			t.Errorf("%s is not described well", s.Key)
		}
		for _, n := range roleNames {
			if d := s.DefaultFor(n.role); d != "" && s.Roles.Has(n.role) {
				if err := s.set(&Config{}, d); err != nil {
					t.Errorf("%s: its own default for %s is refused: %v", s.Key, n.name, err)
				}
			}
		}
	}
	for _, name := range strings.Fields(`TASKWEIR_HTTP_ADDR TASKWEIR_OPS_ADDR TASKWEIR_DATABASE_URL TASKWEIR_REDIS_URL TASKWEIR_NSQ_NSQD TASKWEIR_NSQ_LOOKUPD
		TASKWEIR_DATA_DIR TASKWEIR_BOOTSTRAP_KEY TASKWEIR_ENCRYPTION_KEY TASKWEIR_CLUSTER_KEY TASKWEIR_OUTBOUND_ALLOW TASKWEIR_WORKER_QUEUES
		TASKWEIR_WORKER_SLOTS TASKWEIR_WORKER_SHELL TASKWEIR_URL TASKWEIR_API_KEY`) {
		if !seen[name] {
			t.Errorf("%s, which users rely on, is gone", name)
		}
	}
}
