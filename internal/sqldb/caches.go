package sqldb

import (
	"errors"
	"sync"

	"github.com/taskweir/taskweir/internal/task"
)

var errNoRow = errors.New("no such row")

// laneCache remembers which lanes exist and how they were when last read, so that a submit asks the database only for a
// lane that it never saw.
type laneCache struct {
	mu sync.RWMutex
	m  map[laneName]task.Lane
}

type laneName struct {
	queue    string
	priority task.Priority
}

func (c *laneCache) get(n laneName) (task.Lane, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	l, ok := c.m[n]
	return l, ok
}

// set replaces everything, or adds to it.
func (c *laneCache) set(all bool, lanes ...task.Lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if all || c.m == nil {
		c.m = make(map[laneName]task.Lane, len(lanes))
	}
	for _, l := range lanes {
		c.m[laneName{l.Queue, l.Priority}] = l
	}
}

// byID gives the lane with an id, if it is known.
func (c *laneCache) byID(id int32) (task.Lane, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, l := range c.m {
		if l.ID == id {
			return l, true
		}
	}
	return task.Lane{}, false
}

// kindCache remembers kinds, which never change.
type kindCache struct {
	mu   sync.RWMutex
	name map[int32]string
}

func (c *kindCache) get(id int32) (string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n, ok := c.name[id]
	return n, ok
}

func (c *kindCache) set(kinds []task.KindRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.name == nil {
		c.name = make(map[int32]string, len(kinds))
	}
	for _, k := range kinds {
		c.name[k.ID] = k.Name
	}
}
