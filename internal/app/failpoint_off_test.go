//go:build !faults

package app

import (
	"bytes"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/config"
)

// A program that cannot inject faults refuses to be asked for it: who runs a harness against the wrong build is told at once.
func TestFaultsAreRefusedWithoutTheirTag(t *testing.T) {
	environ := []string{"TASKWEIR_FAULTS_ADDR=127.0.0.1:0"}
	var errs bytes.Buffer
	if code := Main(config.API, nil, environ, &errs); code != 2 || !strings.Contains(errs.String(), "TASKWEIR_FAULTS_ADDR") {
		t.Errorf("api: code %d: %s", code, &errs)
	}
	errs.Reset()
	if code := Command([]string{"standalone", "--data-dir", t.TempDir()}, environ, nil, &errs, &errs); code == 0 || !strings.Contains(errs.String(), "TASKWEIR_FAULTS_ADDR") {
		t.Errorf("standalone: code %d: %s", code, &errs)
	}
}
