package app

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/taskweir/taskweir/internal/config"
)

// Names of the files that a standalone keeps in its data folder.
const (
	databaseFile = config.DatabaseFile
	lockFile     = "lock"
	brokerDir    = "nsqd"
)

// lockDataDir makes the folder and locks it for this process. The lock ends with the process, however it ends, so
// whoever gets it knows that its predecessor is gone.
func lockDataDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := lockHandle(f); err != nil {
		return nil, errors.Join(fmt.Errorf("data folder %s is in use by another process (%w): stop that one, give this one a folder of its own "+
			"(TASKWEIR_DATA_DIR), or, to run several processes on the same tasks, use MySQL or MariaDB (TASKWEIR_DATABASE_URL=mysql://…)", dir, err), f.Close())
	}
	return f, nil
}

// keptKey reads a key that an earlier start made, or makes it: readable by the owner only.
func keptKey(dir, name string, generate func() string) (string, error) {
	path := filepath.Join(dir, name)
	raw, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(raw)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	key := generate()
	if err := writeAtomically(path, []byte(key+"\n")); err != nil {
		return "", err
	}
	return key, nil
}

// writeAtomically leaves either the old file or the whole new one, with mode 0600.
func writeAtomically(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, werr := tmp.Write(data)
	err = errors.Join(werr, tmp.Chmod(0o600), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), os.Remove(tmp.Name()))
	}
	return nil
}

// randomKey is 256 random bits in base64; prefix tells people what they look at.
func randomKey(prefix string) func() string {
	return func() string {
		var b [32]byte
		rand.Read(b[:]) // never fails: crypto/rand ends the process instead
		enc := base64.StdEncoding
		if prefix != "" {
			enc = base64.URLEncoding.WithPadding(base64.NoPadding)
		}
		return prefix + enc.EncodeToString(b[:])
	}
}
