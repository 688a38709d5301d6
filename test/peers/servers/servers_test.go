package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/testkit"
)

// orphan names, in the environment, the server that this program starts in place of testing anything.
const orphan = "PEERS_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if name := os.Getenv(orphan); name != "" {
		os.Exit(beParent(name))
	}
	goleak.VerifyTestMain(m)
}

type kind struct {
	name    string
	missing func(context.Context) []testkit.Missing
	start   func(context.Context, string) (Set, error)
}

var kinds = []kind{
	{"redis-memory", MissingRedis, Redis(InMemory)},
	{"redis-aof", MissingRedis, Redis(EverySecond)},
	{"postgres", MissingPostgres, Postgres},
	{"mariadb", MissingMariaDB, MariaDB},
	{"nsq", MissingNSQ, NSQ},
}

func need(t *testing.T, k kind) {
	t.Helper()
	for _, m := range k.missing(t.Context()) {
		testkit.Need(t, errors.New(m.String()))
	}
}

func TestServersAnswerAndEnd(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			need(t, k)
			s, err := k.start(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
			versions, err := s.Versions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, server := range s {
				if !listens(server.Addr) {
					t.Errorf("%s does not listen on %s", server.Name, server.Addr)
				}
				if strings.Count(versions[server.Product], ".") < 1 {
					t.Errorf("version of %s: %q", server.Product, versions[server.Product])
				}
				if host, _, err := net.SplitHostPort(server.Addr); err != nil || host != "127.0.0.1" {
					t.Errorf("%s is at %s", server.Name, server.Addr)
				}
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			for _, server := range s {
				if listens(server.Addr) {
					t.Errorf("%s listens after its end", server.Name)
				}
			}
		})
	}
}

func TestPostgresHasItsDefaultDurability(t *testing.T) {
	need(t, kinds[2])
	s, err := Postgres(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	conn, err := pgx.Connect(t.Context(), PostgresURL(s.Addrs()["postgres"]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for setting, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "128MB", "wal_level": "replica"} {
		var got string
		if err := conn.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", setting, got, err, want)
		}
	}
}

func TestRedisKeepsWhatItsNameSays(t *testing.T) {
	need(t, kinds[0])
	for keep, want := range map[Keeping]string{InMemory: "no", EverySecond: "yes"} {
		s, err := Redis(keep)(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Stop()
		err = talk(t.Context(), s[0].Addr, []byte("CONFIG GET appendonly\r\n"), func(answer []byte) error {
			if !strings.Contains(string(answer), "\r\n"+want+"\r\n") {
				return fmt.Errorf("appendonly: %q", answer)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAllLeavesNothingAfterAnError(t *testing.T) {
	need(t, kinds[0])
	var first Set
	want := errors.New("the second fails")
	_, err := All(t.Context(), t.TempDir(), func(ctx context.Context, dir string) (_ Set, err error) {
		first, err = Redis(InMemory)(ctx, dir)
		return first, err
	}, func(context.Context, string) (Set, error) { return nil, want })
	if !errors.Is(err, want) {
		t.Fatal(err)
	}
	if listens(first[0].Addr) {
		t.Error("the first server still runs")
	}
}

// A run of the benchmark that is killed leaves no server behind, also none that runs as another user.
func TestServersEndWithTheirParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: only Linux lets children end with their parent")
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			need(t, k)
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), orphan+"="+k.name)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if kerr := cmd.Process.Kill(); kerr != nil || err != nil {
				t.Fatal(line, err, kerr)
			}
			if err := cmd.Wait(); err == nil {
				t.Fatal("the parent was not killed")
			}
			for _, addr := range strings.Fields(line) {
				for deadline := time.Now().Add(10 * time.Second); listens(addr); time.Sleep(20 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("%s goes on after its parent's end", addr)
					}
				}
			}
		})
	}
}

// beParent starts servers, tells their addresses, and waits for its end.
func beParent(name string) int {
	for _, k := range kinds {
		if k.name != name {
			continue
		}
		dir, err := testkit.TempDir() // a later run removes it
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		s, err := k.start(context.Background(), dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		for _, server := range s {
			fmt.Print(server.Addr, " ")
		}
		fmt.Println()
		time.Sleep(time.Minute)
	}
	return 1
}

func listens(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
