package taskweir

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	_ "github.com/go-sql-driver/mysql" // makes the database empty

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/peers/servers"
	"github.com/taskweir/taskweir/test/peers/system"
)

const module = "github.com/taskweir/taskweir"

// The tasks that run at once: as many as did best here, as for the peers, and a worker's default.
const (
	tunedSlots = 1024
	stockSlots = 256
)

// MariaDB is Taskweir on MariaDB at its default durability, nsqd and Redis.
func MariaDB() system.Adapter {
	return onMariaDB("taskweir", "Taskweir, MariaDB + nsqd + Redis", tunedSlots, "1024 (default: 256)")
}

// Stock is the same with its default settings. They change throughput more than latencies.
func Stock() system.Adapter {
	a := onMariaDB("taskweir-stock", "Taskweir, MariaDB + nsqd + Redis, default settings", stockSlots, "256 (default)")
	a.Tuned, a.Throughput = "taskweir", true
	return a
}

func onMariaDB(name, title string, slots int, told string) system.Adapter {
	return system.Adapter{
		Name: name, Title: title, Durable: "a submit is committed and synced; so is its end",
		Learns: true, // how many tasks of a queue are announced together
		Settings: []system.Setting{
			{Name: "worker.slots", Value: told},
			{Name: "innodb_flush_log_at_trx_commit", Value: "1 (default), doublewrite on, no binary log"},
			{Name: "innodb_buffer_pool_size, innodb_log_file_size", Value: "128 MB, 96 MB (defaults)"},
			{Name: "Redis, nsqd", Value: "no persistence, stock settings: neither holds anything that is promised"},
			{Name: "schedules of the platform", Value: "purge and rollup are paused: their tasks would be counted"},
			{Name: "before the first measure", Value: "5 s to learn how many tasks of a queue are announced together; no peer learns"},
			{Name: "submit", Value: "into a paused queue, so that nothing is published to nsqd meanwhile; steady work has both"},
			{Name: "all others", Value: "default"},
		},
		Modules: []string{module, "github.com/go-sql-driver/mysql", "github.com/nsqio/go-nsq", "github.com/redis/go-redis/v9"},
		Missing: func(ctx context.Context) []testkit.Missing {
			return slices.Concat(servers.MissingMariaDB(ctx), servers.MissingRedis(ctx), servers.MissingNSQ(ctx))
		},
		Serve: func(ctx context.Context, dir string) (system.Servers, error) {
			return servers.All(ctx, dir, servers.MariaDB, servers.Redis(servers.InMemory), servers.NSQ)
		},
		Open: func(ctx context.Context, addrs map[string]string, dir string, h system.Handler) (system.System, error) {
			return open(ctx, &installation{slots: slots, dir: dir, handler: h, empty: func(ctx context.Context) error {
				return errors.Join(empty(ctx, addrs["mariadb"]), forget(ctx, addrs["nsqd-http"]))
			},
				environ: []string{"TASKWEIR_DATABASE_URL=mysql://root@" + addrs["mariadb"] + "/" + database,
					"TASKWEIR_REDIS_URL=redis://" + addrs["redis"] + "/", "TASKWEIR_NSQ_NSQD=" + addrs["nsqd"]}})
		},
	}
}

// Standalone is Taskweir on embedded parts: SQLite, nsqd and Redis in its own process.
func Standalone() system.Adapter {
	return system.Adapter{
		Name: "standalone", Title: "Taskweir standalone, SQLite, one process", Durable: "a submit is committed and synced; so is its end",
		Learns: true,
		Settings: []system.Setting{{Name: "worker.slots", Value: "1024 (default: 256)"}, {Name: "SQLite", Value: "WAL, synchronous=FULL (Taskweir's own)"},
			{Name: "schedules of the platform", Value: "purge and rollup are paused: their tasks would be counted"},
			{Name: "before the first measure", Value: "5 s to learn how many tasks of a queue are announced together; no peer learns"},
			{Name: "submit", Value: "into a paused queue, so that nothing is published to nsqd meanwhile; steady work has both"},
			{Name: "all others", Value: "default"}},
		Modules: []string{module, "modernc.org/sqlite", "github.com/nsqio/nsq"},
		Open: func(ctx context.Context, _ map[string]string, dir string, h system.Handler) (system.System, error) {
			return open(ctx, &installation{slots: tunedSlots, dir: dir, handler: h})
		},
	}
}

// All are the adapters of this package.
func All() []system.Adapter { return []system.Adapter{MariaDB(), Standalone(), Stock()} }

// database is the name of the one that Taskweir has in the server.
const database = "taskweir_peers"

// empty drops the database and makes it again.
func empty(ctx context.Context, addr string) error {
	db, err := sql.Open("mysql", "root@tcp("+addr+")/")
	if err != nil {
		return fmt.Errorf("empty the database: %w", err)
	}
	defer db.Close()
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + database, "CREATE DATABASE " + database + " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("empty the database: %w", err)
		}
	}
	return nil
}

// forget deletes the topics of nsqd: announcements of an installation that is gone would only be refused.
func forget(ctx context.Context, addr string) error {
	var stats struct {
		Topics []struct {
			Name string `json:"topic_name"`
		} `json:"topics"`
	}
	if err := ask(ctx, http.MethodGet, "http://"+addr+"/stats?format=json", func(res *http.Response) error {
		return json.NewDecoder(res.Body).Decode(&stats)
	}); err != nil {
		return err
	}
	for _, topic := range stats.Topics {
		if err := ask(ctx, http.MethodPost, "http://"+addr+"/topic/delete?topic="+topic.Name, func(*http.Response) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// ask wants a 2xx answer of nsqd.
func ask(ctx context.Context, method, url string, read func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return fmt.Errorf("ask nsqd: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask nsqd: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("ask nsqd: %w: %s", errAnswer, res.Status)
	}
	return read(res)
}
