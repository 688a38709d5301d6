package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/testkit"
)

// phpShop is what shops in PHP have in common: a client and a receiver, scripts of one folder, and a folder of their own where the
// receiver notes its calls. They live in a zone of their own.
type phpShop struct {
	t            *testing.T
	scripts, dir string
	callbackURL  string
	receiver     *testkit.Process
}

const phpZone = "TZ=Europe/Lisbon"

// openPHPShop starts the receiver of testdata/name, as one process: PHP's own workers outlive the process that is killed.
func openPHPShop(t *testing.T, name string, env ...string) phpShop {
	t.Helper()
	if m, no := testkit.MissingPHP(); no {
		testkit.Need(t, m.Err)
	}
	scripts, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	port, err := testkit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	php, err := exec.LookPath("php")
	if err != nil {
		t.Fatal(err)
	}
	s := phpShop{t: t, scripts: scripts, dir: t.TempDir(), callbackURL: "http://" + testkit.Loopback(port) + "/callback"}
	s.receiver, err = testkit.Start(t.Context(), testkit.Spec{Name: "receiver in PHP", Path: php, Args: []string{"-S", testkit.Loopback(port), filepath.Join(scripts, "receiver.php")},
		Dir: s.dir, Log: filepath.Join(s.dir, "receiver.log"), Env: append([]string{"RECEIVER_DIR=" + s.dir, phpZone}, env...),
		Ready: func(ctx context.Context) error {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", testkit.Loopback(port))
			if err == nil {
				err = c.Close()
			}
			return err
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.receiver.Kill)
	logsOnFailure(t, s.receiver)
	return s
}

// knows tells the receiver an app's secret.
func (s *phpShop) knows(appKey, secret string) {
	s.t.Helper()
	raw, err := json.Marshal(map[string]string{appKey: secret})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "secrets.json"), raw, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// client runs the client with arguments, the last of which are a command and its parameters, and gives what it prints.
func (s *phpShop) client(args []string, command string, params map[string]any) string {
	s.t.Helper()
	in, err := json.Marshal(params)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), "php", append(append([]string{filepath.Join(s.scripts, "client.php")}, args...), command, string(in))...)
	cmd.Env = append(os.Environ(), phpZone)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s: %v %s%s", command, err, raw, stderr.Bytes())
	}
	return string(raw)
}

// eachCall reads what came to the receiver, in order: each line, and what it holds.
func eachCall[C any](s *phpShop, f func(line string, c C)) {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "calls.log"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var c C
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			s.t.Fatal(fmt.Errorf("%s: %w", line, err))
		}
		f(line, c)
	}
}
