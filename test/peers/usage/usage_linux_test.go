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
	before, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if before.Memory < 1<<20 {
		t.Errorf("%d bytes are resident", before.Memory)
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
	tree, err := Of(cmd.Process.Pid)
	if err != nil || tree.CPU < 50*time.Millisecond {
		t.Errorf("the child's tree used %v (%v)", tree.CPU, err)
	}
	after, err := Of(os.Getpid())
	if err != nil || after.CPU-before.CPU < tree.CPU || after.Memory <= before.Memory {
		t.Errorf("this tree used %+v, before %+v, of it the child's %+v (%v)", after, before, tree, err)
	}
	killTree(t, cmd)
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
	if _, err := Of(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
