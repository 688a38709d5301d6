//go:build faults

package app

import (
	"slices"
	"strings"

	"github.com/taskweir/taskweir/internal/failpoint/control"
)

// faultsAddr names the variable that makes the failpoints of this process reachable.
const faultsAddr = "TASKWEIR_FAULTS_ADDR="

// faultControl takes the address of the failpoints' control out of the environment, and serves it for the life of the process.
func faultControl(environ []string) (rest []string, serve func() error) {
	addr := ""
	rest = slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		value, ours := strings.CutPrefix(kv, faultsAddr)
		if ours {
			addr = value
		}
		return ours
	})
	return rest, func() error {
		if addr == "" {
			return nil
		}
		_, err := control.Serve(addr)
		return err
	}
}
