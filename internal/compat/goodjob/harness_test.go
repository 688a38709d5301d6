package goodjob

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/rest"
	"github.com/taskweir/taskweir/internal/secret"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

const rootKey = "root-key-of-the-tests"

// world is the surface, beside /v1, over a real database.
type world struct {
	t      testing.TB
	store  *sqldb.Store
	svc    *control.Service
	api    http.Handler
	zone   *time.Location
	nonces *nonces
	clock  *movedClock
	app    application
	serial int
}

// movedClock is the database's clock, a number of ms ahead.
type movedClock struct {
	control.Clock
	ahead atomic.Int64
}

func (c *movedClock) Now() int64 { return c.Clock.Now() + c.ahead.Load() }

// ringer rings nothing: tests claim by hand.
type ringer struct{}

func (ringer) Ring(...task.Rung) {}

// nonces are the nonces of one process.
type nonces struct {
	mu   sync.Mutex
	used map[string]time.Duration
}

func (n *nonces) Burn(_ context.Context, app int32, nonce string, life time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := fmt.Sprint(app, " ", nonce)
	_, used := n.used[key]
	n.used[key] = life
	return !used
}

func onBoth(t *testing.T, f func(w *world)) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) { f(newWorld(t, s, true)) })
}

func onSQLite(t testing.TB) *world { return newWorld(t, sqldbtest.New(t, "sqlite"), true) }

func newWorld(t testing.TB, store *sqldb.Store, open bool) *world {
	t.Helper()
	box, err := secret.New([32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	w := &world{t: t, store: store, zone: zone, nonces: &nonces{used: map[string]time.Duration{}}, clock: &movedClock{Clock: store.Clock()}}
	w.svc = control.New(control.Options{Store: store, Ringer: ringer{}, Clock: w.clock, Secrets: box, Logger: log, OpenRegistration: open,
		Checks: map[string]func([]byte) []task.FieldError{Kind: nil, "echo": nil}})
	t.Cleanup(func() { w.svc.Close(context.Background()) })
	if err := w.svc.Bootstrap(context.Background(), rootKey); err != nil {
		t.Fatal(err)
	}
	e := rest.New(rest.Options{Service: w.svc, Logger: log})
	compat.Mount(e, []string{Name}, New(Options{Service: w.svc, Nonces: w.nonces, Zone: zone, Logger: log}))
	w.api = e
	if open {
		w.app = w.newApp("shop", "http://127.0.0.1:9/callback")
	}
	return w
}

// answer is what a client reads.
type answer struct {
	status  int
	Code    int             `json:"code"`
	Data    json.RawMessage `json:"data"`
	Message string          `json:"message"`
	body    string
}

// sendRaw makes one request.
func (w *world) sendRaw(method, path, body string, headers map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	return rec
}

// send makes one request and reads the envelope.
func (w *world) send(method, path, body string, headers map[string]string) answer {
	w.t.Helper()
	rec := w.sendRaw(method, path, body, headers)
	a := answer{status: rec.Code, body: rec.Body.String()}
	if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil {
		w.t.Fatalf("%s %s answered %d %s: %v", method, path, rec.Code, rec.Body, err)
	}
	return a
}

func (w *world) newApp(name, url string) (app application) {
	w.t.Helper()
	a := w.send("POST", "/goodjob/application", form("appName", name, "linkUrl", url), formHeader())
	w.ok(a)
	w.decode(a.Data, &app)
	return app
}

func (w *world) decode(raw []byte, into any) {
	w.t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		w.t.Fatalf("%s: %v", raw, err)
	}
}

// ok checks an answer that must be good.
func (w *world) ok(a answer) {
	w.t.Helper()
	if a.status != 200 || a.Code != 200 || a.Message != "" {
		w.t.Fatalf("not ok: %d %s", a.status, a.body)
	}
}

// refused checks the whole answer of a refusal.
func (w *world) refused(a answer, text string) {
	w.t.Helper()
	if want := `{"code":0,"data":{},"message":` + quoted(text) + `}`; a.status != 200 || a.body != want {
		w.t.Errorf("got %d %s\nwant %s", a.status, a.body, want)
	}
}

func quoted(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)
	return strings.TrimSpace(b.String())
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

func formHeader() map[string]string {
	return map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
}

// headers are those of a request of the world's app that is made now. signed are the pairs that its signature covers.
func (w *world) headers(signed map[string]string) map[string]string {
	w.serial++
	h := map[string]string{"app_key": w.app.AppKey, "nonce_str": fmt.Sprintf("nonce%d", w.serial), "timestamp": compat.FormatTime(w.svc.Now(), w.zone), "version": "1.0",
		"Content-Type": "application/x-www-form-urlencoded"}
	h["signature"] = w.signature(signed, h)
	return h
}

// signature is the document's algorithm, written again from the document.
func (w *world) signature(signed, h map[string]string) string {
	all := map[string]string{}
	for k, v := range signed {
		all[k] = v
	}
	for k, v := range h {
		if !slices.Contains([]string{"signature", "Content-Type", "Authorization"}, k) {
			all[k] = v
		}
	}
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	text := make([]string, len(keys))
	for i, k := range keys {
		text[i] = k + "=" + all[k]
	}
	sum := md5.Sum([]byte(strings.Join(text, "&") + w.app.SecretKey))
	return hex.EncodeToString(sum[:])
}

// call makes a signed request with a form.
func (w *world) call(path string, pairs ...string) answer {
	w.t.Helper()
	signed := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		signed[pairs[i]] = pairs[i+1]
	}
	return w.send("POST", "/goodjob"+path, form(pairs...), w.headers(signed))
}

// create submits a task and gives its id.
func (w *world) create(pairs ...string) string {
	w.t.Helper()
	w.serial++
	given := map[string]string{"taskNo": fmt.Sprint("no", w.serial), "content": "{}"}
	for i := 0; i < len(pairs); i += 2 {
		given[pairs[i]] = pairs[i+1]
	}
	var all []string
	for k, v := range given {
		all = append(all, k, v)
	}
	a := w.call("/task/create", all...)
	w.ok(a)
	var made struct{ TaskID string }
	w.decode(a.Data, &made)
	return made.TaskID
}

func (w *world) detail(id string) (d detail) {
	w.t.Helper()
	a := w.call("/task/detail", "taskId", id)
	w.ok(a)
	w.decode(a.Data, &d)
	return d
}

// later is a date-time so many seconds from now, as a client writes it.
func (w *world) later(seconds int64) string {
	return compat.FormatTime(w.svc.Now()+seconds*1000, w.zone)
}

// row is a task's row.
func (w *world) row(id string) task.Task {
	w.t.Helper()
	v, err := w.store.State(context.Background(), 0, number(w.t, id))
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func number(t testing.TB, id string) (n int64) {
	t.Helper()
	if _, err := fmt.Sscan(id, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// start claims a task as a worker would.
func (w *world) start(id string) (worker int64, c task.Claimed) {
	w.t.Helper()
	ctx := context.Background()
	worker, err := w.store.NewWorker(ctx, task.WorkerInfo{Host: "h", Slots: 4})
	if err != nil {
		w.t.Fatal(err)
	}
	row := w.row(id)
	c, err = w.store.Claim(ctx, task.ClaimRequest{WorkerID: worker, LaneID: row.LaneID, Bells: []int64{row.Holder}, Max: 1, Kinds: []int32{row.KindID}})
	if err != nil || len(c.Tasks) != 1 {
		w.t.Fatalf("claim: %+v %v", c, err)
	}
	return worker, c
}

// finish ends a started run.
func (w *world) finish(worker int64, c task.Claimed, to task.State, out task.Outcome, edit func(*task.Ending)) {
	w.t.Helper()
	row := w.row(fmt.Sprint(c.Tasks[0].ID))
	e := &task.Ending{TaskID: row.ID, ClaimID: c.ClaimID, AttemptID: c.Tasks[0].AttemptID, WorkerID: worker, AppID: row.AppID, LaneID: row.LaneID, KindID: row.KindID,
		Epoch: row.Epoch, Flags: row.Flags, DueAt: row.DueAt, StartedAt: row.StartedAt, FinishedAt: w.svc.Now(), To: to, Outcome: out}
	if edit != nil {
		edit(e)
	}
	if _, err := w.store.Finish(context.Background(), task.FinishBatch{WorkerID: worker, Endings: []*task.Ending{e}, Emptied: []int64{c.ClaimID}}); err != nil || e.Fenced {
		w.t.Fatalf("finish: fenced %v, %v", e.Fenced, err)
	}
}

// v1 calls the native API with the key of an administrator.
func (w *world) v1(method, path, body string, into any) int {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+rootKey)
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	raw, _ := io.ReadAll(rec.Body)
	if into != nil {
		w.decode(raw, into)
	}
	return rec.Code
}

var _ httpkit.Handler = New(Options{}).Routes[0].Handle
