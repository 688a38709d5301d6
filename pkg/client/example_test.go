package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
)

// Submit a task and wait for its result.
func Example() {
	ctx := context.Background()
	c, err := client.New(os.Getenv("TASKWEIR_URL"), os.Getenv("TASKWEIR_API_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	t, err := c.Submit(ctx, "echo", map[string]string{"hello": "world"})
	if err != nil {
		log.Fatal(err)
	}
	answer, err := client.WaitResult[map[string]string](ctx, c, t.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer["hello"])
	// Output: world
}

// connect is what New needs, for the other examples.
func connect() *client.Client {
	c, err := client.New(os.Getenv("TASKWEIR_URL"), os.Getenv("TASKWEIR_API_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// Options say when, where and how often a task is run.
func ExampleClient_Submit() {
	ctx, c := context.Background(), connect()
	defer c.Close()

	t, err := c.Submit(ctx, "http", map[string]any{"url": "https://example.com/hook", "body": map[string]int{"order": 17}},
		client.Queue("mail"),
		client.Delay(10*time.Minute),
		client.Timeout(30*time.Second),
		client.MaxRetries(5),
		client.Label("customer", "42"),
		client.IdempotencyKey("order-17-mail"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(t.Queue, t.State, t.TimeoutMs, t.Retry.Max, t.Labels["customer"])

	again, err := c.Submit(ctx, "http", map[string]any{"url": "https://example.com/hook", "body": map[string]int{"order": 17}},
		client.Queue("mail"),
		client.Delay(10*time.Minute),
		client.Timeout(30*time.Second),
		client.MaxRetries(5),
		client.Label("customer", "42"),
		client.IdempotencyKey("order-17-mail"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again.ID == t.ID, again.Replayed)
	// Output:
	// mail scheduled 30000 5 42
	// true true
}

// A unique key lets one task at a time do a thing. The error of a second one names the first.
func ExampleUniqueKey() {
	ctx, c := context.Background(), connect()
	defer c.Close()

	first, err := c.Submit(ctx, "echo", nil, client.UniqueKey("invoice-2030-01"), client.Delay(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Submit(ctx, "echo", nil, client.UniqueKey("invoice-2030-01"), client.Delay(time.Hour))
	if id, taken := client.ConflictingTask(err); taken {
		fmt.Println("it is being done already:", id == first.ID)
	}

	kept, err := c.Submit(ctx, "echo", nil, client.UniqueKey("invoice-2030-01"), client.Delay(time.Hour), client.OnConflict(apiv1.UniqueKeep))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same task:", kept.ID == first.ID, kept.Existing)
	// Output:
	// it is being done already: true
	// the same task: true true
}

// Many tasks in one request, each with an answer of its own.
func ExampleClient_SubmitBatch() {
	ctx, c := context.Background(), connect()
	defer c.Close()

	tasks := []apiv1.Submit{{Kind: "echo"}, {Kind: "no-such-kind"}, {Kind: "echo"}}
	items, err := c.SubmitBatch(ctx, tasks)
	if err != nil {
		log.Fatal(err)
	}
	for i, it := range items {
		if it.Err != nil {
			fmt.Println(i, "refused:", client.Fields(it.Err)[0].Field)
			continue
		}
		fmt.Println(i, it.Task.State)
	}
	// Output:
	// 0 queued
	// 1 refused: tasks[1].kind
	// 2 queued
}

// Lists are iterators, which read page after page while they are ranged over.
func ExampleClient_List() {
	ctx, c := context.Background(), connect()
	defer c.Close()

	for range 3 {
		if _, err := c.Submit(ctx, "echo", nil, client.Queue("nightly"), client.Delay(time.Hour)); err != nil {
			log.Fatal(err)
		}
	}
	n := 0
	for t, err := range c.List(ctx, client.TaskFilter{Queue: "nightly", State: apiv1.StateScheduled, Page: client.Page{Size: 2}}) {
		if err != nil {
			log.Fatal(err)
		}
		if _, err := c.Cancel(ctx, t.ID, 0); err != nil {
			log.Fatal(err)
		}
		n++
	}
	fmt.Println("cancelled", n)
	// Output: cancelled 3
}

// Errors say what is wrong with which field, and what may be done.
func ExampleError() {
	ctx, c := context.Background(), connect()
	defer c.Close()

	_, err := c.Submit(ctx, "echo", nil, client.MaxRetries(1000), client.Priority("urgent"))
	switch {
	case client.IsInvalid(err): // the request itself is wrong: 400, 413, 422
		for _, f := range client.Fields(err) {
			fmt.Println(f.Field, f.Rule)
		}
	case client.IsConflict(err): // 409; client.ConflictingTask names the other one
	case errors.Is(err, client.ErrUnauthorized): // the key is unknown or revoked
	case client.IsTemporary(err): // it was repeated and still failed: later
	}

	_, err = c.Get(ctx, 1<<50)
	fmt.Println("not found:", client.IsNotFound(err))
	// Output:
	// priority one_of
	// retry.max range
	// not found: true
}

// A task that fails is an error that holds the task.
func ExampleWaitResult() {
	ctx, c := context.Background(), connect()
	defer c.Close()

	t, err := c.Submit(ctx, "http", map[string]string{"url": "http://127.0.0.1:1/"}, client.MaxRetries(0))
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.WaitResult[string](ctx, c, t.ID)
	if failed, ok := errors.AsType[*client.UnsuccessfulError](err); ok {
		fmt.Println(failed.Task.State, failed.Task.Reason, failed.Task.Error.Code)
	}
	// Output: failed exhausted connection_failed
}

// Ensure keeps a schedule as the program wants it, at each of its starts.
func ExampleSchedules_Ensure() {
	ctx, c := context.Background(), connect()
	defer c.Close()

	for range 2 {
		s, err := c.Schedules.Ensure(ctx, apiv1.ScheduleInput{
			Name: "nightly report",
			Spec: apiv1.ScheduleSpec{Cron: "30 2 * * *"},
			Zone: "Europe/Berlin",
			Task: apiv1.Submit{Kind: "echo", Payload: []byte(`{"day":"{{slot}}"}`)},
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s.Name, "version", s.Version)
	}
	// Output:
	// nightly report version 1
	// nightly report version 2
}

// What happens to one task, while it happens, to its end.
func ExampleClient_TaskEvents() {
	ctx, c := context.Background(), connect()
	defer c.Close()

	t, err := c.Submit(ctx, "echo", nil)
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range c.TaskEvents(ctx, t.ID, "") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Type)
	}
	// Output:
	// submitted
	// started
	// succeeded
}

// What happens to all tasks of the app. The stream goes on over lost connections until it is left.
func ExampleClient_Events() {
	ctx, c := context.Background(), connect()
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	go submitNowAndThen(ctx, c)

	for e, err := range c.Events(ctx, client.EventFilter{Queue: "orders"}) {
		if err != nil {
			log.Fatal(err)
		}
		if e.Type == apiv1.EventReset {
			continue // events may be missing before this one: read anew what you need
		}
		if apiv1.Final(e.State) {
			fmt.Println(e.Kind, e.State)
			break
		}
	}
	// Output: echo succeeded
}

func submitNowAndThen(ctx context.Context, c *client.Client) {
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		if _, err := c.Submit(ctx, "echo", nil, client.Queue("orders")); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// A client with settings of its own.
func ExampleNew() {
	c, err := client.New(os.Getenv("TASKWEIR_URL"), os.Getenv("TASKWEIR_API_KEY"),
		client.WithUserAgent("billing/2.1"),
		client.WithTimeout(10*time.Second),
		client.WithRetry(client.RetryPolicy{Tries: 8, Elapsed: 2 * time.Minute}),
		client.WithPatience(time.Hour),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	health, err := c.Health(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(health.Status)
	// Output: ok
}
