package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/config"
)

const (
	minPacket = 4 << 20
	// maxSkew is how far this machine's clock may be from the database's before its log lines mislead people.
	maxSkew = time.Second
	// maxUncertainty is how late delayed tasks may be because of a slow way to the database.
	maxUncertainty = 20 * time.Millisecond
)

// database looks at the server's durability, limits, schema and clock.
func database(ctx context.Context, c *config.Config, p Probes) []Finding {
	const a area = "database"
	where := c.Database.URL.String()
	if path, ok := strings.CutPrefix(c.Database.URL.Reveal(), "sqlite://"); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return []Finding{a.warn("connection", path+" does not exist yet", "start taskweir standalone once, or name the database with TASKWEIR_DATABASE_URL")}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	db, err := p.Database(ctx, c)
	if err != nil {
		return []Finding{a.problem("connection", where+": "+err.Error(), "start the server; check address, user and password in "+c.Source("database.url"))}
	}
	defer db.Close()
	var out []Finding
	if db.MySQL() {
		out = mysql(ctx, db, where)
	} else {
		out = sqlite(ctx, db, where)
	}
	out = append(out, schema(ctx, db))
	return append(out, clocks(db)...)
}

func mysql(ctx context.Context, db Database, where string) []Finding {
	const a area = "database"
	v, err := db.Variables(ctx, "version", "innodb_flush_log_at_trx_commit", "log_bin", "binlog_format", "sync_binlog", "max_allowed_packet",
		"max_connections", "read_only", "wsrep_on", "rpl_semi_sync_master_enabled", "rpl_semi_sync_source_enabled")
	if err != nil {
		return []Finding{a.problem("connection", where+": "+err.Error(), "let the user read the server's variables")}
	}
	out := []Finding{version(v["version"], where)}
	if got := v["innodb_flush_log_at_trx_commit"]; got == "1" {
		out = append(out, a.ok("innodb_flush_log_at_trx_commit", "1: a commit is on disk before it is answered"))
	} else {
		out = append(out, a.problem("innodb_flush_log_at_trx_commit", got+": accepted tasks are lost when the server crashes", "set innodb_flush_log_at_trx_commit = 1 in its configuration, and SET GLOBAL it now"))
	}
	out = append(out, replication(v)...)
	if n, _ := strconv.ParseInt(v["max_allowed_packet"], 10, 64); n < minPacket {
		out = append(out, a.problem("max_allowed_packet", fmt.Sprintf("%s bytes: large batches are refused", v["max_allowed_packet"]), "set max_allowed_packet = 16M in its configuration, and SET GLOBAL it now"))
	} else {
		out = append(out, a.ok("max_allowed_packet", fmt.Sprintf("%d MiB", n>>20)))
	}
	if isOn(v["read_only"]) {
		out = append(out, a.problem("read_only", "the server is read-only, perhaps a replica", "connect to the primary"))
	}
	if isOn(v["wsrep_on"]) {
		out = append(out, a.warn("wsrep_on", "a Galera cluster: row locks do not reach across its nodes, conflicts appear at commit and are repeated", "point all processes to the same node"))
	}
	return out
}

// version says whether the server is new enough.
func version(text, where string) Finding {
	const a area = "database"
	name, major, minor := "MySQL", 8, 0
	if strings.Contains(strings.ToLower(text), "mariadb") {
		name, major, minor = "MariaDB", 10, 6
	}
	var x, y int
	if _, err := fmt.Sscanf(text, "%d.%d", &x, &y); err != nil {
		return a.warn("version", "cannot read the version "+strconv.Quote(text), fmt.Sprintf("use %s %d.%d or newer", name, major, minor))
	}
	if x < major || x == major && y < minor {
		return a.problem("version", name+" "+text+" at "+where+" is too old", fmt.Sprintf("use %s %d.%d or newer", name, major, minor))
	}
	number, _, _ := strings.Cut(text, "-")
	return a.ok("version", name+" "+number+" at "+where)
}

// replication looks at the binary log, and says what a failover can lose.
func replication(v map[string]string) []Finding {
	const a area = "database"
	if !isOn(v["log_bin"]) {
		return []Finding{a.ok("binlog_format", "no binary log: no replicas, and no recovery to a point in time")}
	}
	var out []Finding
	if v["binlog_format"] == "STATEMENT" {
		out = append(out, a.problem("binlog_format", "STATEMENT: writes under READ COMMITTED are refused", "set binlog_format = ROW in its configuration, and SET GLOBAL it now"))
	} else {
		out = append(out, a.ok("binlog_format", v["binlog_format"]))
	}
	if n := v["sync_binlog"]; n != "1" {
		out = append(out, a.warn("sync_binlog", n+": after a crash of the server its replicas may miss commits that were answered", "set sync_binlog = 1"))
	}
	if isOn(v["rpl_semi_sync_master_enabled"]) || isOn(v["rpl_semi_sync_source_enabled"]) {
		return append(out, a.ok("replication", "semi-synchronous: a commit is answered when a replica has it (until the plugin's timeout)"))
	}
	return append(out, a.ok("replication", "asynchronous, if there are replicas: a failover can lose the commits of the last moments, so tasks that were accepted "+
		"vanish and tasks that were finished run again; use semi-synchronous replication, or fail over only to a replica that has everything"))
}

func sqlite(ctx context.Context, db Database, where string) []Finding {
	const a area = "database"
	v, err := db.Variables(ctx, "version", "journal_mode", "synchronous")
	if err != nil {
		return []Finding{a.problem("connection", where+": "+err.Error(), "check that this user may read the file and write its folder")}
	}
	out := []Finding{a.ok("version", "SQLite "+v["version"]+" at "+where)}
	if m := strings.ToLower(v["journal_mode"]); m != "wal" {
		out = append(out, a.problem("journal_mode", m+": readers and the writer block each other", "start taskweir standalone on it once: it switches to WAL; keep the file on a local disk"))
	} else {
		out = append(out, a.ok("journal_mode", "wal"))
	}
	return out
}

// schema compares the tables with this program.
func schema(ctx context.Context, db Database) Finding {
	const a area = "database"
	applied, known, err := db.Schema(ctx)
	switch {
	case err != nil:
		return a.problem("schema", err.Error(), "run taskweir migrate status")
	case applied == 0:
		return a.problem("schema", "there are no tables yet", "run taskweir migrate up")
	case applied < known:
		return a.problem("schema", fmt.Sprintf("version %d, this program needs %d", applied, known), "run taskweir migrate up before the new programs start")
	case applied > known+1:
		return a.problem("schema", fmt.Sprintf("version %d is more than one newer than this program's %d", applied, known), "run the programs of the newer release")
	case applied > known:
		return a.ok("schema", fmt.Sprintf("version %d, one newer than this program: an upgrade is under way", applied))
	}
	return a.ok("schema", fmt.Sprintf("version %d", applied))
}

// clocks compares this machine's clock with the database's, which is the only one that counts.
func clocks(db Database) []Finding {
	const a area = "clock"
	offset, uncertainty := db.Clock()
	var out []Finding
	if offset.Abs() > maxSkew {
		out = append(out, a.warn("offset", fmt.Sprintf("the database's clock is %s from this machine's: Taskweir goes by the database's, log lines here will disagree", offset.Round(time.Millisecond)), "run an NTP client on both machines"))
	} else {
		out = append(out, a.ok("offset", fmt.Sprintf("%s from the database's", offset.Round(100*time.Microsecond))))
	}
	if uncertainty > maxUncertainty {
		out = append(out, a.warn("round trip", fmt.Sprintf("the way to the database takes %s: delayed tasks start that much later", uncertainty.Round(time.Millisecond)), "run the processes nearer to the database"))
	} else {
		out = append(out, a.ok("round trip", fmt.Sprintf("clock known to ± %s", uncertainty.Round(10*time.Microsecond))))
	}
	return out
}

func isOn(v string) bool { return strings.EqualFold(v, "ON") || v == "1" }
