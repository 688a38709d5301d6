package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// goPage is docs/go-workers.md: its programs, and what is typed in its terminals. The module made of them is a stranger's: it is
// outside of ours, so that what is internal is out of its reach.
type goPage struct {
	dir   string
	serve map[string]string // what is started in a terminal of its own, by its program: bin/hello, bin/worker, bin/service
	typed []string          // the other terminals' blocks, in their order
}

var fence = regexp.MustCompile("(?ms)^```(go|sh)\n(.*?)^```$")

// goWorkersPage reads the page, writes its programs and builds them: once for all tests.
var goWorkersPage = sync.OnceValues(func() (*goPage, error) {
	root, err := testkit.Root()
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(root, "docs", "go-workers.md"))
	if err != nil {
		return nil, err
	}
	p := &goPage{dir: filepath.Join(binDir, "shop"), serve: map[string]string{}}
	for _, m := range fence.FindAllStringSubmatch(string(raw), -1) {
		if err := p.take(m[1], m[2]); err != nil {
			return nil, err
		}
	}
	return p, p.module(root)
})

// take writes a program, or keeps what is typed.
func (p *goPage) take(language, text string) error {
	if language == "go" {
		first, rest, _ := strings.Cut(text, "\n")
		name, ok := strings.CutPrefix(first, "// file: ")
		if !ok {
			return fmt.Errorf("a program of the page has no name: %s", first)
		}
		path := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(rest), 0o600)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if program, _, _ := strings.Cut(lines[len(lines)-1], " "); strings.HasPrefix(program, "bin/") {
		lines[len(lines)-1] = "exec " + lines[len(lines)-1]
		p.serve[program] = strings.Join(lines, "\n")
		return nil
	}
	p.typed = append(p.typed, text)
	return nil
}

// module makes the folder a module that requires ours, as it is here, and everything that ours requires: nothing is downloaded.
func (p *goPage) module(root string) error {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return err
	}
	const ours = "github.com/taskweir/taskweir"
	text := strings.Replace(string(mod), "module "+ours, "module example.org/shop", 1) +
		"\nrequire " + ours + " v0.0.0\n\nreplace " + ours + " => " + root + "\n"
	if err := os.WriteFile(filepath.Join(p.dir, "go.mod"), []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "go.sum"), sum, 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	out, err := p.bash(ctx, "", nil, "go build -o bin/ ./hello ./worker ./service")
	if err != nil {
		return fmt.Errorf("build the programs of docs/go-workers.md: %w\n%s", err, out)
	}
	return nil
}

// env is what the page's terminals have: the command line on the path, and no registry.
func (p *goPage) env(extra ...string) []string {
	return append([]string{"PATH=" + binDir + string(os.PathListSeparator) + os.Getenv("PATH"), "GOFLAGS=-mod=mod", "GOPROXY=off"}, extra...)
}

// bash runs a script in the page's folder, or in another one, and gives what it prints.
func (p *goPage) bash(ctx context.Context, dir string, env []string, script string) (string, error) {
	cmd := exec.CommandContext(ctx, "bash", "-ec", script)
	if cmd.Dir = dir; dir == "" {
		cmd.Dir = p.dir
	}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "TASKWEIR_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, p.env(env...)...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// newGoPage gives the page; a folder of this test's own stands for the reader's, with the programs in it.
func newGoPage(t *testing.T) (p *goPage, dir string) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			testkit.Need(t, err)
		}
	}
	programs(t)
	p, err := goWorkersPage()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.Symlink(filepath.Join(p.dir, "bin"), filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	return p, dir
}

// terminal starts one of the page's servers and waits until it answers at addr. Building is done already.
func (p *goPage) terminal(t *testing.T, dir, program, addr string, changes *strings.Replacer, env ...string) *testkit.Process {
	t.Helper()
	script := p.serve[program]
	if script == "" {
		t.Fatalf("the page does not start %s", program)
	}
	lines := strings.Split(script, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "go build ") {
			lines[i] = "# built"
		}
	}
	return p.process(t, dir, program, addr, changes.Replace(strings.Join(lines, "\n")), env...)
}

func (p *goPage) process(t *testing.T, dir, name, addr, script string, env ...string) *testkit.Process {
	t.Helper()
	s, err := testkit.Start(t.Context(), testkit.Spec{Name: name, Path: "bash", Args: []string{"-ec", script}, Dir: dir, Env: p.env(env...),
		Log: filepath.Join(dir, filepath.Base(name)+".log"), StopWait: 20 * time.Second, Ready: func(ctx context.Context) error { return answers(ctx, addr) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	logsOnFailure(t, s)
	return s
}

// answers reports whether HTTP is answered there, with whatever status. That the port is open says less: a program takes its ports
// first of all, before it writes its keys.
func answers(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return err
	}
	req.Close = true // leaves no connection open
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := testkit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Loopback(port)
}

// stops ends a process by SIGTERM, as its user would.
func stops(t *testing.T, p *testkit.Process) {
	t.Helper()
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if code := p.ExitCode(); code != 0 {
		t.Errorf("%s ended with code %d", p.Name(), code)
	}
}

// TestGoWorkersTestThemselves runs the tests that the page shows.
func TestGoWorkersTestThemselves(t *testing.T) {
	t.Parallel()
	p, _ := newGoPage(t)
	last := p.typed[len(p.typed)-1]
	if !strings.Contains(last, "go test") {
		t.Fatalf("the page's last terminal runs no tests:\n%s", last)
	}
	if out, err := p.bash(t.Context(), "", nil, last); err != nil || !strings.Contains(out, "ok  \texample.org/shop/worker") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestGoWorkerInFifteenLines plays the beginning of the page.
func TestGoWorkerInFifteenLines(t *testing.T) {
	t.Parallel()
	p, dir := newGoPage(t)
	addr := freeAddr(t)
	if n := strings.Count(strings.TrimSpace(mustRead(t, filepath.Join(p.dir, "hello", "main.go"))), "\n"); n > 16 {
		t.Errorf("the fifteen lines are %d", n)
	}
	hello := p.terminal(t, dir, "bin/hello", addr, strings.NewReplacer(), "TASKWEIR_HTTP_ADDR="+addr)
	p.known(t, dir, "hello")
	out, err := p.bash(t.Context(), dir, nil, p.typed[0])
	if err != nil || !strings.Contains(out, "Hello, Ada!") {
		t.Errorf("%v\n%s", err, out)
	}
	stops(t, hello)
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// operate types what the page types into the third terminal, from the first order on, and looks at what comes back.
func (p *goPage) operate(t *testing.T, dir string, changes *strings.Replacer, env ...string) {
	t.Helper()
	var script strings.Builder
	for i, block := range p.typed[1 : len(p.typed)-1] {
		fmt.Fprintf(&script, "echo '### %d'\n%s\n", i, block)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	out, err := p.bash(ctx, dir, env, changes.Replace(script.String()))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	blocks := strings.Split(out, "### ")[1:]
	for i, wants := range [][]string{
		{`{"file":"invoice-17.pdf","pages":3}`},
		{"invoice.render", "succeeded", "page drawn", "page=3", "took="},
		{"render", "main.go", "cancelled"},
		{"queue_paused", `{"file":"invoice-19.pdf","pages":1}`},
		{"invalid_payload"},
		{"invoice.send", "invoice.render"},
	} {
		if i >= len(blocks) {
			t.Fatalf("only %d blocks:\n%s", len(blocks), out)
		}
		for _, want := range wants {
			if !strings.Contains(blocks[i], want) {
				t.Errorf("block %d does not show %q:\n%s", i, want, blocks[i])
			}
		}
	}
}

// known waits until a worker has made a kind known, as a reader has done by the time that the next command is typed.
func (p *goPage) known(t *testing.T, dir, kind string, env ...string) {
	t.Helper()
	eventually(t, 10*time.Second, "the kind "+kind+" is known", func() bool {
		out, err := p.bash(t.Context(), dir, env, "taskweir kinds list")
		return err == nil && strings.Contains(out, kind)
	})
}

// TestGoWorkersOnAStandalone plays the page as its reader does.
func TestGoWorkersOnAStandalone(t *testing.T) {
	t.Parallel()
	p, dir := newGoPage(t)
	api, service := freeAddr(t), freeAddr(t)
	changes := strings.NewReplacer("127.0.0.1:8080", api, "127.0.0.1:8090", service)
	worker := p.terminal(t, dir, "bin/worker", api, changes, "TASKWEIR_HTTP_ADDR="+api)
	p.service(t, dir, service, changes)
	p.known(t, dir, "invoice.render")
	p.operate(t, dir, changes)
	stops(t, worker)
}

// service starts the service; it listens at an address of its own because tests run beside each other.
func (p *goPage) service(t *testing.T, dir, addr string, changes *strings.Replacer, env ...string) {
	t.Helper()
	p.terminal(t, dir, "bin/service", addr, changes, append(env, "SHOP_ADDR="+addr)...)
}

// TestGoWorkersOnACluster runs the same programs as parts of an installation: the worker beside stock ones, the service and the command
// line against its API.
func TestGoWorkersOnACluster(t *testing.T) {
	p, dir := newGoPage(t)
	c := cluster(t)
	service, ops := freeAddr(t), freeAddr(t)
	worker := p.process(t, dir, "bin/worker", ops, "exec bin/worker --worker-slots=8", append(c.Env(), "TASKWEIR_OPS_ADDR="+ops)...)
	env := []string{"TASKWEIR_URL=" + c.BaseURL, "TASKWEIR_API_KEY=" + c.Keys.Bootstrap}
	changes := strings.NewReplacer("127.0.0.1:8090", service)
	p.process(t, dir, "bin/service", service, "exec bin/service", append(env, "SHOP_ADDR="+service)...)
	p.known(t, dir, "invoice.render", env...)
	p.operate(t, dir, changes, env...)
	// What still waits for this worker would wait in the cluster's tables for ever.
	eventually(t, 20*time.Second, "nothing waits for the page's worker", func() bool {
		left, err := p.bash(t.Context(), dir, env, `for s in scheduled queued running; do taskweir tasks list --queue invoices --state $s -q; done`)
		if err == nil && strings.TrimSpace(left) == "" {
			return true
		}
		for _, id := range strings.Fields(left) {
			_, _ = p.bash(t.Context(), dir, env, "taskweir tasks cancel "+id) // it may have ended meanwhile
		}
		return false
	})
	stops(t, worker)
}
