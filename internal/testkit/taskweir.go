package testkit

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Programs is a folder with Taskweir's built programs.
type Programs struct{ Dir string }

// BuildPrograms builds api, scheduler, worker and taskweir into dir, with flags of go build (-race, -tags=faults).
func BuildPrograms(ctx context.Context, dir string, flags ...string) (Programs, error) {
	if err := Build(ctx, dir, append(flags, "./cmd/api", "./cmd/scheduler", "./cmd/worker", "./cmd/taskweir")...); err != nil {
		return Programs{}, err
	}
	return Programs{dir}, nil
}

// Path is the path of one program.
func (p Programs) Path(name string) string { return filepath.Join(p.Dir, name) }

// Keys are the secrets of one installation.
type Keys struct{ Bootstrap, Encryption, Cluster string }

// NewKeys makes random keys.
func NewKeys() Keys {
	var raw [72]byte
	_, _ = rand.Read(raw[:]) // never fails: it would end the program instead
	return Keys{hex.EncodeToString(raw[:20]), base64.StdEncoding.EncodeToString(raw[20:52]), hex.EncodeToString(raw[52:])}
}

// Env is the keys as configuration.
func (k Keys) Env() []string {
	return []string{"TASKWEIR_BOOTSTRAP_KEY=" + k.Bootstrap, "TASKWEIR_ENCRYPTION_KEY=" + k.Encryption, "TASKWEIR_CLUSTER_KEY=" + k.Cluster}
}

// loopbackAllowed lets tasks call receivers on this machine.
const loopbackAllowed = "TASKWEIR_OUTBOUND_ALLOW=127.0.0.0/8,::1/128"

// ClusterOptions say what a Cluster is made of. The zero value is one of each server, one api, one scheduler, two workers.
type ClusterOptions struct {
	Servers             ServersOptions
	Programs            Programs                       // required
	Schedulers, Workers int                            // 0: 1 and 2
	Env                 []string                       // for every process of Taskweir
	Output              func(process string) io.Writer // gets each process's log as well; may be nil
}

// Cluster is a whole installation of separate processes on private servers.
type Cluster struct {
	*Servers
	Keys       Keys
	BaseURL    string // of the API
	API        *Process
	Schedulers []*Process
	Workers    []*Process
	WorkerOps  []string // address of each worker's health and metrics

	o   ClusterOptions
	env []string
}

const clusterDatabase = "taskweir"

// StartCluster starts servers, brings an empty database to the current schema, and starts every process. On an error
// nothing is left.
func StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	if o.Schedulers == 0 {
		o.Schedulers = 1
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	servers, err := StartServers(ctx, o.Servers)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Servers: servers, Keys: NewKeys(), o: o}
	c.env = append(append(servers.Env(clusterDatabase), c.Keys.Env()...), loopbackAllowed)
	c.env = append(c.env, o.Env...)
	if err := c.start(ctx); err != nil {
		c.Kill()
		return nil, errors.Join(err, servers.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.MariaDB.CreateDatabase(ctx, clusterDatabase); err != nil {
		return err
	}
	if out, err := c.CLI(ctx, "migrate", "up"); err != nil {
		return fmt.Errorf("taskweir migrate up: %w\n%s", err, out)
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	if c.API, err = c.role(ctx, "api", "api", addr, "TASKWEIR_HTTP_ADDR="+addr); err != nil {
		return err
	}
	c.BaseURL = "http://" + addr
	for range c.o.Schedulers {
		if err := c.AddScheduler(ctx); err != nil {
			return err
		}
	}
	for range c.o.Workers {
		if err := c.AddWorker(ctx); err != nil {
			return err
		}
	}
	return nil
}

// AddScheduler starts one more scheduler.
func (c *Cluster) AddScheduler(ctx context.Context) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	p, err := c.role(ctx, "scheduler", fmt.Sprintf("scheduler%d", len(c.Schedulers)+1), addr, "TASKWEIR_OPS_ADDR="+addr)
	if err != nil {
		return err
	}
	c.Schedulers = append(c.Schedulers, p)
	return nil
}

// AddWorker starts one more worker, with these settings on top of the cluster's.
func (c *Cluster) AddWorker(ctx context.Context, env ...string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	p, err := c.role(ctx, "worker", fmt.Sprintf("worker%d", len(c.Workers)+1), addr, append([]string{"TASKWEIR_OPS_ADDR=" + addr}, env...)...)
	if err != nil {
		return err
	}
	c.Workers, c.WorkerOps = append(c.Workers, p), append(c.WorkerOps, addr)
	return nil
}

func (c *Cluster) role(ctx context.Context, program, name, addr string, env ...string) (*Process, error) {
	spec := Spec{Name: name, Path: c.o.Programs.Path(program), Env: append(append([]string(nil), c.env...), env...), Dir: c.Dir,
		Log: filepath.Join(c.Dir, name+".log"), Ready: Answers(addr, "/readyz"), StopWait: 30 * time.Second}
	if c.o.Output != nil {
		spec.Output = c.o.Output(name)
	}
	return Start(ctx, spec)
}

// Env is the configuration that the cluster's processes share.
func (c *Cluster) Env() []string { return c.env }

// CLI runs the taskweir command against the cluster and gives what it prints.
func (c *Cluster) CLI(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.o.Programs.Path("taskweir"), args...)
	cmd.Env = append(append(neutralEnv(), c.env...), "TASKWEIR_URL="+c.BaseURL, "TASKWEIR_API_KEY="+c.Keys.Bootstrap)
	cmd.Dir = c.Dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("taskweir %v: %w", args, err)
	}
	return string(out), nil
}

// Processes lists Taskweir's processes in the order in which they are best stopped.
func (c *Cluster) Processes() []*Process {
	all := append([]*Process(nil), c.Workers...)
	all = append(all, c.Schedulers...)
	if c.API != nil {
		all = append(all, c.API)
	}
	return all
}

// Kill ends Taskweir's processes at once.
func (c *Cluster) Kill() {
	for _, p := range c.Processes() {
		p.Kill()
	}
}

// Drain stops Taskweir's processes: workers at once and first, then schedulers, then the API.
func (c *Cluster) Drain(ctx context.Context) error {
	if err := stopAll(ctx, c.Workers); err != nil {
		return err
	}
	return stopAll(ctx, c.Processes())
}

func stopAll(ctx context.Context, processes []*Process) error {
	errs := make(chan error, len(processes))
	for _, p := range processes {
		go func() { errs <- p.Stop(ctx) }()
	}
	var first error
	for range processes {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Close kills what runs and removes everything.
func (c *Cluster) Close() error {
	c.Kill()
	return c.Servers.Close()
}

// Standalone is one process with everything embedded.
type Standalone struct {
	*Process
	BaseURL string
	Addr    string
	Key     string
	Data    string
}

// StandaloneOptions say how to start one.
type StandaloneOptions struct {
	Programs Programs // required
	Dir      string   // required: its data folder is Dir/data, its log Dir/standalone.log
	Addr     string   // empty: a free port
	Args     []string
	Env      []string
	Output   io.Writer
}

// StartStandalone starts one on a free port, with a key of its own, and waits until it is ready.
func StartStandalone(ctx context.Context, o StandaloneOptions) (*Standalone, error) {
	var err error
	if o.Addr == "" {
		if o.Addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	s := &Standalone{BaseURL: "http://" + o.Addr, Addr: o.Addr, Key: NewKeys().Bootstrap, Data: filepath.Join(o.Dir, "data")}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the standalone's folder: %w", err)
	}
	s.Process, err = Start(ctx, Spec{Name: "standalone", Path: o.Programs.Path("taskweir"), Args: append([]string{"standalone"}, o.Args...), Dir: o.Dir,
		Env: append([]string{"TASKWEIR_HTTP_ADDR=" + o.Addr, "TASKWEIR_DATA_DIR=" + s.Data, "TASKWEIR_BOOTSTRAP_KEY=" + s.Key}, o.Env...),
		Log: filepath.Join(o.Dir, "standalone.log"), Output: o.Output, Ready: Answers(o.Addr, "/readyz"), StopWait: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func freeAddr() (string, error) {
	port, err := FreePort()
	if err != nil {
		return "", err
	}
	return Loopback(port), nil
}
