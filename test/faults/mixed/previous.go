package mixed

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/taskweir/taskweir/internal/testkit"
)

// ErrNoHistory: the repository does not know its history, so that nothing older can be built.
var ErrNoHistory = errors.New("the history of the repository is not there (a shallow clone, or no clone)")

// migrations is the folder whose files are looked for.
const migrations = "migrations/mysql"

// Previous is the commit before the one that added a migration last, and the name of that migration.
func Previous(ctx context.Context) (commit, migration string, err error) {
	root, err := testkit.Root()
	if err != nil {
		return "", "", err
	}
	if shallow, err := git(ctx, root, "rev-parse", "--is-shallow-repository"); err != nil || shallow != "false" {
		return "", "", errors.Join(ErrNoHistory, err)
	}
	out, err := git(ctx, root, "log", "-1", "--diff-filter=A", "--name-only", "--format=%H", "--", migrations+"/*.up.sql")
	if err != nil {
		return "", "", errors.Join(ErrNoHistory, err)
	}
	lines := strings.Fields(out)
	if len(lines) < 2 {
		return "", "", fmt.Errorf("%w: nobody added a migration", ErrNoHistory)
	}
	if commit, err = git(ctx, root, "rev-parse", lines[0]+"^"); err != nil {
		return "", "", errors.Join(ErrNoHistory, err)
	}
	return commit, filepath.Base(lines[len(lines)-1]), nil
}

// BuildPrevious builds the programs of a commit into dir. The repository's own folders are not touched.
func BuildPrevious(ctx context.Context, commit, dir string) (testkit.Programs, error) {
	root, err := testkit.Root()
	if err != nil {
		return testkit.Programs{}, err
	}
	source := filepath.Join(dir, "source")
	if err := unpack(ctx, root, commit, source); err != nil {
		return testkit.Programs{}, err
	}
	bin := filepath.Join(dir, "bin")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin+string(filepath.Separator), "./cmd/api", "./cmd/scheduler", "./cmd/worker", "./cmd/taskweir")
	cmd.Dir = source
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return testkit.Programs{}, err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return testkit.Programs{}, fmt.Errorf("build %.12s: %w\n%s", commit, err, out)
	}
	return testkit.Programs{Dir: bin}, os.RemoveAll(source)
}

// unpack writes the files of a commit into dir.
func unpack(ctx context.Context, root, commit, dir string) error {
	cmd := exec.CommandContext(ctx, "git", "archive", "--format=tar", commit)
	cmd.Dir = root
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("git archive: %w", err)
	}
	err = untar(pipe, dir)
	if _, rest := io.Copy(io.Discard, pipe); err == nil {
		err = rest
	}
	if ended := cmd.Wait(); err == nil && ended != nil {
		err = fmt.Errorf("git archive %.12s: %w", commit, ended)
	}
	return err
}

func untar(from io.Reader, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // nothing is written outside
	if err != nil {
		return err
	}
	defer root.Close()
	for files := tar.NewReader(from); ; {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch head.Typeflag {
		case tar.TypeDir:
			if err := root.MkdirAll(strings.TrimSuffix(head.Name, "/"), 0o755); err != nil {
				return err
			}
		case tar.TypeReg:
			f, err := root.OpenFile(head.Name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
			if err != nil {
				return err
			}
			_, err = io.Copy(f, files)
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
		}
	}
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
