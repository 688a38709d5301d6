package cli

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// home is a user's folder for configuration and a way to run commands in it.
func home(t *testing.T, environ ...string) (string, func(stdin string, args ...string) result) {
	dir := t.TempDir()
	env := append([]string{"XDG_CONFIG_HOME=" + dir, "TASKWEIR_DATA_DIR=" + t.TempDir()}, environ...)
	return filepath.Join(dir, "taskweir", "contexts.json"), func(stdin string, args ...string) result {
		t.Helper()
		return runWith(t, Deps{Environ: env}, stdin, args...)
	}
}

func TestContextsNameServersAndKeys(t *testing.T) {
	f := newFake(t,
		exchange{want: "GET /v1/queues?limit=1000", answer: `{"items":[]}`},
		exchange{want: "GET /v1/queues?app=shop&limit=1000", answer: `{"items":[]}`},
		exchange{want: "GET /v1/queues?app=other&limit=1000", answer: `{"items":[]}`},
		exchange{want: "GET /v1/workers?limit=1000", answer: `{"items":[]}`})
	path, run := home(t)
	run(testKey+"\n", "context", "set", "production", "--url", f.url+"/").expect(t, ExitOK, "production is "+f.url, "taskweir context use production")
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	run("", "queues", "--context=production").expect(t, ExitOK)
	run("", "context", "set", "production", "--app=shop", "--keep-key").expect(t, ExitOK)
	run("", "context", "use", "production").expect(t, ExitOK, "in use")
	run("", "queues").expect(t, ExitOK)
	run("", "queues", "--app=other").expect(t, ExitOK)
	run("", "workers").expect(t, ExitOK) // takes no app
	r := run("", "context")
	r.expect(t, ExitOK, "production  *     "+f.url+"  shop  stored")
	if strings.Contains(r.out, testKey) {
		t.Error("a key is shown")
	}
	run("", "context", "list", "-o=json").expect(t, ExitOK, `{"items":[{"name":"production","current":true,"url":"`+f.url+`","app":"shop","key":"stored"}]}`)
	run("", "context", "list", "-q").expect(t, ExitOK, "production\n")
	run("", "context", "use", "nowhere").expect(t, ExitNotFound, `there is no context "nowhere": there are production`)
	run("", "context", "delete", "production").expect(t, ExitOK, "production deleted")
	run("", "queues", "--context=production").expect(t, ExitNotFound, "taskweir context set production --url URL")
}

// A key goes to no server but its own.
func TestAContextsKeyStaysWithItsServer(t *testing.T) {
	f := newFake(t, exchange{want: "GET /v1/queues?limit=1000", answer: `{"items":[]}`})
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(testKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, run := home(t)
	run("", "context", "set", "a", "--url=http://a.test", "--key-file", key).expect(t, ExitOK)
	run("", "context", "use", "a").expect(t, ExitOK)
	run("", "queues", "--url", f.url).expect(t, ExitCredentials, "no API key for "+f.url) // the one in use is left aside
	run("", "queues", "--url", f.url, "--context=a").expect(t, ExitUsage, `context "a" names address and key, and so does flag --url: keep one`)
	run("", "queues", "--url", f.url, "--api-key-file", key).expect(t, ExitOK)
	run(testKey, "context", "set", "b", "--url=http://b.test").expect(t, ExitOK)
	run("", "context", "set", "b", "--url=http://elsewhere.test", "--keep-key").expect(t, ExitUsage, "goes to no other address")
	run("", "context", "use", "-").expect(t, ExitOK, "no context is in use")
}

func TestContextsOfTheEnvironment(t *testing.T) {
	f := newFake(t, exchange{want: "GET /v1/queues?limit=1000", answer: `{"items":[]}`})
	_, run := home(t, "TASKWEIR_CONTEXT=a")
	run(testKey, "context", "set", "a", "--url", f.url).expect(t, ExitOK)
	run("", "queues").expect(t, ExitOK)
}

func TestContextMistakesAreNamed(t *testing.T) {
	path, run := home(t)
	run("short", "context", "set", "a", "--url=http://a.test").expect(t, ExitUsage, "16 to 128 printable characters")
	run(testKey, "context", "set", "a b", "--url=http://a.test").expect(t, ExitUsage, "is no name")
	run(testKey, "context", "set", "a").expect(t, ExitUsage, "a context needs --url")
	for _, u := range []string{"ftp://x", "http://user:secret@x", "http://", "x"} {
		run(testKey, "context", "set", "a", "--url", u).expect(t, ExitUsage, "--url: must be http or https")
	}
	run("", "context", "set", "a", "--url=http://a.test", "--key-file=/nowhere").expect(t, ExitUsage, "no such file")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for text, says := range map[string]string{`{"contexts":{"a":{"ur":"x"}}}`: "unknown field", `{`: "unexpected EOF", `{"contexts":{"../x":{}}}`: "is no name of a context"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		run("", "queues").expect(t, ExitUsage, path, says)
	}
	if err := os.WriteFile(path, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		run("", "queues").expect(t, ExitUsage, "others may read it (mode 0644)", "chmod 600 "+path)
	}
}

// What a file of contexts holds is a set of known contexts, or an error.
func FuzzContexts(f *testing.F) {
	for _, s := range []string{`{}`, `{"current":"a","contexts":{"a":{"url":"http://x","apiKey":"k"}}}`, `{"contexts":null}`, `[`, `{"contexts":{"":{}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &contexts{Contexts: map[string]namedContext{}}
		if c.decode(raw) != nil {
			return
		}
		for _, name := range c.names() {
			if !contextName.MatchString(name) {
				t.Errorf("%q", name)
			}
		}
	})
}
