package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommandLineFindsTheStandaloneBeside(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadStandalone(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without a standalone: %v", err)
	}
	if c := mustLoad(t, CLI, []string{"--data-dir", dir}, nil); c.URL != DefaultURL || c.APIKey.IsSet() {
		t.Errorf("without a standalone: %q", c.URL)
	}
	if err := WriteStandalone(dir, "http://127.0.0.1:9999"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, BootstrapKeyFile), []byte("bootstrap-key-0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, StandaloneFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	for _, c := range []struct {
		env      []string
		url, key string
	}{
		{nil, "http://127.0.0.1:9999", "bootstrap-key-0123"},
		{[]string{"TASKWEIR_URL=http://127.0.0.1:9999/"}, "http://127.0.0.1:9999", "bootstrap-key-0123"},
		{[]string{"TASKWEIR_URL=https://tasks.example"}, "https://tasks.example", ""},
		{[]string{"TASKWEIR_API_KEY=another-key-0123456"}, "http://127.0.0.1:9999", "another-key-0123456"},
	} {
		got := mustLoad(t, CLI, []string{"--data-dir", dir}, c.env)
		if got.URL != c.url || got.APIKey.Reveal() != c.key {
			t.Errorf("%v: %s with %q", c.env, got.URL, got.APIKey.Reveal())
		}
	}
	t.Chdir(filepath.Dir(dir))
	if err := os.Rename(dir, ".taskweir"); err != nil {
		t.Fatal(err)
	}
	if c := mustLoad(t, CLI, nil, nil); c.APIKey.Reveal() != "bootstrap-key-0123" {
		t.Error("the folder .taskweir of the working directory was not looked into")
	}
}

func TestDamagedStandaloneFilesAreNamed(t *testing.T) {
	for name, files := range map[string][2]string{
		"no JSON": {"{", "bootstrap-key-0123"}, "no address": {"{}", "bootstrap-key-0123"},
		"other address": {`{"url":"ftp://x"}`, "bootstrap-key-0123"}, "short key": {`{"url":"http://x"}`, "short"}, "huge": {strings.Repeat(" ", 5000), "bootstrap-key-0123"},
	} {
		dir := t.TempDir()
		for i, file := range []string{StandaloneFile, BootstrapKeyFile} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(files[i]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ReadStandalone(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
