package sqldb

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/taskweir/taskweir/internal/task"
)

var errNoRow = errors.New("no such row")

// laneName is what a lane is known by outside.
type laneName struct {
	queue    string
	priority task.Priority
}

// laneCache remembers the lanes as they were when last read, so that a submit asks the database only for a lane that
// this process never saw.
type laneCache struct {
	mu   sync.RWMutex
	name map[laneName]task.Lane
	id   map[int32]task.Lane
}

func (c *laneCache) get(n laneName) (task.Lane, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	l, ok := c.name[n]
	return l, ok
}

func (c *laneCache) byID(id int32) (task.Lane, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	l, ok := c.id[id]
	return l, ok
}

// set replaces everything by what was just read.
func (c *laneCache) set(lanes []task.Lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name, c.id = make(map[laneName]task.Lane, len(lanes)), make(map[int32]task.Lane, len(lanes))
	for _, l := range lanes {
		c.name[laneName{l.Queue, l.Priority}], c.id[l.ID] = l, l
	}
}

// add puts one lane in.
func (c *laneCache) add(l task.Lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.name == nil {
		c.name, c.id = map[laneName]task.Lane{}, map[int32]task.Lane{}
	}
	c.name[laneName{l.Queue, l.Priority}], c.id[l.ID] = l, l
}

// nameCache remembers names that never change, by id: kinds, app keys.
type nameCache struct {
	mu    sync.RWMutex
	m     map[int32]string
	shell atomic.Int32 // the id of task.ShellKind; 0: not known
}

func (c *nameCache) get(id int32) (string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n, ok := c.m[id]
	return n, ok
}

func (c *nameCache) put(id int32, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[int32]string{}
	}
	c.m[id] = name
	if name == task.ShellKind {
		c.shell.Store(id)
	}
}

func (c *nameCache) set(kinds []task.KindRow) {
	for _, k := range kinds {
		c.put(k.ID, k.Name)
	}
}
