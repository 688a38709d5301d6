package usage

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestChildrenCountWithTheirParent(t *testing.T) {
	before, memory := both(t, os.Getpid())
	if memory < 1<<20 {
		t.Errorf("%d bytes are resident", memory)
	}
	// The loop is done by a grandchild, which then goes on sleeping.
	cmd := exec.Command("sh", "-c", "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo; exec sleep 60' & wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	tree, _ := both(t, cmd.Process.Pid)
	if tree < 50*time.Millisecond {
		t.Errorf("the child's tree used %v", tree)
	}
	after, more := both(t, os.Getpid())
	if after-before < tree || more <= memory {
		t.Errorf("this tree used %v and %d bytes, before %v and %d, of it the child's %v", after, more, before, memory, tree)
	}
	killTree(t, cmd)
}

func both(t *testing.T, pid int) (cpu time.Duration, memory int64) {
	t.Helper()
	var err error
	if cpu, err = CPU(pid); err != nil {
		t.Fatal(err)
	}
	if memory, err = Memory(pid); err != nil {
		t.Fatal(err)
	}
	return cpu, memory
}

func killTree(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	all, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	for pid, st := range all {
		if st.parent == cmd.Process.Pid {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
	}
	_ = cmd.Wait() // it answers the signal of its child
}

func TestAnEndedProcessIsAnError(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := CPU(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := Memory(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
