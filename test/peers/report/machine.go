package report

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/taskweir/taskweir/internal/testkit"
)

// Machine is what everything ran on.
type Machine struct {
	CPU       string `json:"cpu"`
	Cores     int    `json:"cores"`
	MemoryGiB int    `json:"memoryGiB"`
	System    string `json:"system"` // operating system and kernel

	Disk testkit.Disk `json:"disk"` // under the servers' data
}

// String is one line for people.
func (m Machine) String() string {
	return fmt.Sprintf("%d × %s, %d GiB, %s, %s", m.Cores, m.CPU, m.MemoryGiB, m.System, m.Disk)
}

// thisMachine asks Linux; what it does not tell is left out.
func thisMachine() Machine {
	m := Machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), System: runtime.GOOS}
	if name := lineOf("/proc/cpuinfo", "model name", ":"); name != "" {
		m.CPU = name
	}
	var kib int
	if _, err := fmt.Sscan(lineOf("/proc/meminfo", "MemTotal", ":"), &kib); err == nil {
		m.MemoryGiB = (kib + 1<<19) >> 20
	}
	if name := strings.Trim(lineOf("/etc/os-release", "PRETTY_NAME", "="), `"`); name != "" {
		m.System = name
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.System += ", Linux " + string(bytes.TrimSpace(release))
	}
	return m
}

// lineOf gives the value of the first line of a file that begins with a name.
func lineOf(file, name, separator string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		key, value, ok := strings.Cut(line, separator)
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// commit is that of the working copy, with a + when files differ from it.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return string(bytes.TrimSpace(out))
}
