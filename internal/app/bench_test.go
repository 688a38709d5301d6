package app

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/taskweir/taskweir/internal/config"
)

// TestTheBenchLeavesTheDataFolderAlone: started beside a standalone, it works in a folder of its own.
func TestTheBenchLeavesTheDataFolderAlone(t *testing.T) {
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	config.AddFlags(fs, config.Standalone)
	if err := fs.Parse([]string{"--data-dir", "/somewhere/in/use"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg, err := benchConfig(fs, []string{"TASKWEIR_DATA_DIR=/another/in/use"}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DataDir != dir || !strings.HasPrefix(cfg.Database.URL.Reveal(), "sqlite://"+dir) {
		t.Errorf("data in %s, database %s: want %s", cfg.DataDir, cfg.Database.URL, dir)
	}
}
