//go:build faults && !linux

package failpoint

// kill and stop need Linux, as the harness does.
func kill() { panic("failpoint: kill needs Linux") }

func stop() { panic("failpoint: stop needs Linux") }
