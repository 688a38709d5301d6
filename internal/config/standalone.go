package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files that standalone keeps in its data folder, each with mode 0600.
const (
	BootstrapKeyFile  = "bootstrap.key"   // the text of the API key
	EncryptionKeyFile = "encryption.key"  // base64 of 32 bytes
	ClusterKeyFile    = "cluster.key"     // text
	StandaloneFile    = "standalone.json" // StandaloneInfo, written at start
)

// StandaloneInfo is what a standalone leaves in its data folder for the command line beside it.
type StandaloneInfo struct {
	URL    string `json:"url"` // base address of its API
	APIKey Secret `json:"-"`   // from its own file
}

// ReadStandalone reads what a standalone left in its data folder. The error wraps fs.ErrNotExist when none ever ran there;
// whether it runs now is not known.
func ReadStandalone(dataDir string) (StandaloneInfo, error) {
	var info StandaloneInfo
	raw, err := readBounded(filepath.Join(dataDir, StandaloneFile), maxSecretFile)
	if err != nil {
		return info, fmt.Errorf("read standalone's address: %w", err)
	}
	if err := json.Unmarshal(raw, &info); err != nil {
		return info, fmt.Errorf("read standalone's address from %s: %w", StandaloneFile, err)
	}
	if err := parseBaseURL(&info.URL, info.URL); err != nil {
		return info, fmt.Errorf("read standalone's address from %s: url %w", StandaloneFile, err)
	}
	key, err := readBounded(filepath.Join(dataDir, BootstrapKeyFile), maxSecretFile)
	if err != nil {
		return info, fmt.Errorf("read standalone's API key: %w", err)
	}
	if err := parsePrintable(&info.APIKey, strings.TrimSpace(string(key)), 16, 128); err != nil {
		return info, fmt.Errorf("read standalone's API key from %s: %w", BootstrapKeyFile, err)
	}
	return info, nil
}

// WriteStandalone leaves a standalone's address for the command line: whole or not at all.
func WriteStandalone(dataDir, baseURL string) error {
	raw, err := json.Marshal(StandaloneInfo{URL: baseURL})
	if err != nil {
		return fmt.Errorf("encode standalone's address: %w", err)
	}
	temporary, err := os.CreateTemp(dataDir, StandaloneFile+".*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write standalone's address: %w", err)
	}
	_, err = temporary.Write(append(raw, '\n'))
	if cerr := temporary.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(dataDir, StandaloneFile))
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		return fmt.Errorf("write standalone's address: %w", err)
	}
	return nil
}

// findStandalone fills the command line's address and key from the data folder. The standalone's key goes to nobody but
// that standalone: with another address the key must be given.
func (c *Config) findStandalone() {
	info, err := ReadStandalone(c.DataDir)
	if c.URL == "" && err == nil {
		c.URL = info.URL
		c.origins["url"] = origin{source: filepath.Join(c.DataDir, StandaloneFile)}
	}
	if c.URL == "" {
		c.URL = DefaultURL
	}
	if !c.APIKey.IsSet() && err == nil && c.URL == info.URL {
		c.APIKey = info.APIKey
		c.origins["api_key"] = origin{source: filepath.Join(c.DataDir, BootstrapKeyFile)}
	}
}
