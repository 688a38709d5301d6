package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// Installer installs what is missing from Debian's packages. The zero value, with Out set, is the one to use.
type Installer struct {
	Out    io.Writer // gets the announcement and apt's output
	AptGet string    // empty: apt-get
	Policy string    // empty: /usr/sbin/policy-rc.d
}

// Why an Installer did nothing.
var (
	ErrInstallOff  = errors.New("installing is switched off (TASKWEIR_TEST_INSTALL=0)")
	ErrNotRoot     = errors.New("only root can install packages")
	ErrNotDebian   = errors.New("no apt-get here")
	errInvalidFlag = errors.New("TASKWEIR_TEST_INSTALL is 0 or 1")
)

// Install announces and installs the packages of what is missing. Services that come with them are not started. It gives
// one of the errors above when it may not or cannot; nothing was done then.
func (i Installer) Install(ctx context.Context, missing []Missing) error {
	packages := packagesOf(missing)
	if len(packages) == 0 {
		return nil
	}
	if err := i.allowed(); err != nil {
		return err
	}
	fmt.Fprintf(i.Out, "Installing %s with apt-get, because these tests need them. TASKWEIR_TEST_INSTALL=0 switches this off.\n", strings.Join(packages, ", "))
	release, err := holdServices(i.policy())
	if err != nil {
		return err
	}
	defer release()
	if err := i.apt(ctx, "update", "-q"); err != nil {
		return err
	}
	return i.apt(ctx, append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)...)
}

func (i Installer) allowed() error {
	switch os.Getenv("TASKWEIR_TEST_INSTALL") {
	case "0":
		return ErrInstallOff
	case "", "1":
	default:
		return errInvalidFlag
	}
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	if _, err := exec.LookPath(i.aptGet()); err != nil {
		return ErrNotDebian
	}
	return nil
}

func (i Installer) aptGet() string {
	if i.AptGet != "" {
		return i.AptGet
	}
	return "apt-get"
}

func (i Installer) policy() string {
	if i.Policy != "" {
		return i.Policy
	}
	return "/usr/sbin/policy-rc.d"
}

func (i Installer) apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, i.aptGet(), args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = i.Out, i.Out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w", args[0], err)
	}
	return nil
}

func packagesOf(missing []Missing) []string {
	var packages []string
	for _, m := range missing {
		packages = append(packages, strings.Fields(m.Package)...)
	}
	return packages
}

// holdServices tells Debian's package scripts not to start services until release is called. A policy that is there
// already is the machine's own: it stays, and decides.
func holdServices(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hold services: %w", err)
	}
	release = func() { _ = os.Remove(path) } // left behind it would hold services back: nothing more can be done here
	if _, err := f.WriteString("#!/bin/sh\n# Written while test servers are installed; removed afterwards.\nexit 101\n"); err != nil {
		_ = f.Close()
		release()
		return nil, fmt.Errorf("hold services: %w", err)
	}
	if err := f.Close(); err != nil {
		release()
		return nil, fmt.Errorf("hold services: %w", err)
	}
	return release, nil
}
