package results

import (
	"sync"
	"time"
)

// Cost is what a unit took. It is different each time.
type Cost struct {
	Took []time.Duration `json:"took,omitempty"` // by each model
	Read int64           `json:"read,omitempty"` // bytes of weights
}

// Add adds what another unit took.
func (c *Cost) Add(other Cost) {
	for i, took := range other.Took {
		if i == len(c.Took) {
			c.Took = append(c.Took, 0)
		}
		c.Took[i] += took
	}
	c.Read += other.Read
}

// BatchTokens is how many tokens go through a model together at most where results are kept, so that no kill costs more.
const BatchTokens = 32 << 10

// Meter tells what units take that are done one after the other by one model.
type Meter struct {
	read func() int64

	mu    sync.Mutex
	since time.Time
	bytes int64
}

// NewMeter begins to measure. What the model reads counts if it says how much that is, as an *infer.Model.
func NewMeter(model any) *Meter {
	m := &Meter{read: func() int64 { return 0 }, since: time.Now()}
	if reader, ok := model.(interface{ BytesRead() int64 }); ok {
		m.read = reader.BytesRead
	}
	m.bytes = m.read()
	return m
}

// Cost returns what was taken since it was called the last time.
func (m *Meter) Cost() Cost {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, read := time.Now(), m.read()
	cost := Cost{[]time.Duration{now.Sub(m.since)}, read - m.bytes}
	m.since, m.bytes = now, read
	return cost
}
