package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Tools are the paths of the broker's programs.
type Tools struct{ NSQD, NSQLookupd string }

const modulePath = "github.com/taskweir/taskweir"

var (
	errNoRoot    = errors.New("not inside Taskweir's source tree")
	errNoProgram = errors.New("not on the path")
)

// Root finds the top of Taskweir's source tree from the working folder upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the source tree: %w", err)
	}
	for {
		raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if first, _, _ := bytes.Cut(raw, []byte("\n")); err == nil && string(bytes.TrimSpace(first)) == "module "+modulePath {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errNoRoot
		}
		dir = up
	}
}

// NSQTools gives nsqd and nsqlookupd, building them from test/tools into the user's cache folder when this version is not
// there yet. The first build may need the network for their modules.
func NSQTools(ctx context.Context) (Tools, error) {
	root, err := Root()
	if err != nil {
		return Tools{}, err
	}
	module := filepath.Join(root, "test", "tools")
	version, err := goOutput(ctx, module, "list", "-m", "-f", "{{.Version}}", "github.com/nsqio/nsq")
	if err != nil {
		return Tools{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Tools{}, fmt.Errorf("find the cache folder: %w", err)
	}
	dir := filepath.Join(cache, "taskweir", "tools", fmt.Sprintf("nsq-%s-%s-%s-%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
	tools := Tools{filepath.Join(dir, "nsqd"), filepath.Join(dir, "nsqlookupd")}
	if isFile(tools.NSQD) && isFile(tools.NSQLookupd) {
		return tools, nil
	}
	return tools, buildTools(ctx, module, dir)
}

// buildTools builds beside the final folder and moves it there, so that two builds at once cannot hurt each other.
func buildTools(ctx context.Context, module, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "build-*")
	if err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	defer os.RemoveAll(fresh)
	if _, err := goOutput(ctx, module, "build", "-o", fresh+string(filepath.Separator), "github.com/nsqio/nsq/apps/nsqd", "github.com/nsqio/nsq/apps/nsqlookupd"); err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return fmt.Errorf("keep the broker's programs: %w", err)
	}
	if err := os.Rename(fresh, dir); err != nil && !isFile(filepath.Join(dir, "nsqd")) {
		return fmt.Errorf("keep the broker's programs: %w", err)
	}
	return nil
}

// Build builds packages of Taskweir ("./cmd/api") into dir. Flags of go build may stand before them.
func Build(ctx context.Context, dir string, packages ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	_, err = goOutput(ctx, root, append([]string{"build", "-o", dir + string(filepath.Separator)}, packages...)...)
	return err
}

// goOutput runs the go command in dir.
func goOutput(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// look finds the first of some names of a program. Servers are often in /usr/sbin, which is not on everybody's path.
func look(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"} {
			if path := filepath.Join(dir, name); isFile(path) {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w", names[0], errNoProgram)
}

// onFreePort starts a server on a free port, and on another when somebody else took it in between.
func onFreePort[T any](start func(port int) (T, error)) (T, error) {
	var last error
	for range 3 {
		port, err := FreePort()
		if err != nil {
			var none T
			return none, err
		}
		server, err := start(port)
		if err == nil {
			return server, nil
		}
		last = err
		if !errors.Is(err, errEnded) {
			break
		}
	}
	var none T
	return none, last
}
