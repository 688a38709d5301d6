package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestYAMLIsTakenAsWritten(t *testing.T) {
	c := mustLoad(t, Standalone, nil, []string{"TASKWEIR_CONFIG=" + write(t, "c.yaml", "cluster_key: 0001234567890123456\nworker:\n  slots: 010\nbootstrap_key: \"0x1234567890123456\"\n")})
	if c.ClusterKey.Reveal() != "0001234567890123456" || c.BootstrapKey.Reveal() != "0x1234567890123456" || c.Worker.Slots != 10 {
		t.Errorf("got %q, %q, %d", c.ClusterKey.Reveal(), c.BootstrapKey.Reveal(), c.Worker.Slots)
	}
}

func TestYAMLThatMeansNothingIsRefused(t *testing.T) {
	for text, rule := range map[string]string{
		"- a":                               "must hold settings",
		"just text":                         "must hold settings",
		"worker: [1, 2]":                    "must hold settings",
		"worker: {slots: 1}\nworker: {}":    "stands twice",
		"worker: {slots: 1, slots: 2}":      "stands twice",
		"worker: {slots: [1]}":              "is a list",
		"worker: {slots: {a: 1}}":           "must be one value",
		"outbound: {allow: [[10.0.0.0/8]]}": "list of single values",
		"outbound: {allow: ['a,b']}":        "list of single values",
		"worker: &w {slots: 1}":             "anchors",
		"x: &x 1\nworker: {slots: *x}":      "anchors",
		"{worker: {slots: 1}":               "did not find",
		"worker: {slots: 1}\n---\nlog: {}":  "several documents",
		"Worker: {slots: 1}":                "is no setting",
		"worker.slots: 1":                   "write it below",
		"? [a]\n: 1":                        "must be a name",
		"log:\n\tlevel: info":               "cannot start",
		"cluster_key: a-cluster-key-0123\ncluster_key_file: /x": "given twice",
	} {
		_, err := Load(Standalone, nil, []string{"TASKWEIR_CONFIG=" + write(t, "c.yaml", text)})
		if err == nil || !strings.Contains(err.Error(), rule) {
			t.Errorf("%q: %v does not say %q", text, err, rule)
		}
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "null\n", "worker:\n", "worker: {}\n"} {
		mustLoad(t, Standalone, nil, []string{"TASKWEIR_CONFIG=" + write(t, "c.yaml", text)})
	}
	big := write(t, "big.yaml", strings.Repeat("# comment\n", maxFile/10+1))
	if got := problems(t, Standalone, nil, []string{"TASKWEIR_CONFIG=" + big}); !strings.Contains(got[0].Text, "larger than") {
		t.Errorf("got %v", got)
	}
}

// FuzzFile feeds any bytes as a configuration file: it is read or refused with an *Error, and what is read obeys the ranges.
func FuzzFile(f *testing.F) {
	example, err := os.ReadFile("../../deploy/taskweir.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, s := range []string{"", "worker: {slots: 5}", "outbound: {allow: [10.0.0.0/8]}", "a: &a [*a]", "? ? ?", "worker:\n  slots: !!binary MTI=", "cluster_key: |\n  text\n"} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "c.yaml")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := LoadFlags(Standalone, nil, []string{"TASKWEIR_CONFIG=" + path})
		var broken *Error
		switch {
		case err != nil && !errors.As(err, &broken):
			t.Fatalf("an error of another type: %v", err)
		case err == nil && (c.Worker.Slots < 1 || c.Worker.Slots > 10_000 || c.Liveness.DeadAfter < 4*c.Liveness.Beat || !filepath.IsAbs(c.DataDir) || !c.Database.URL.IsSet()):
			t.Fatalf("out of range: %+v", c)
		}
	})
}
