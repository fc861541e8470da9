package infer

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// crew does the small pieces of work that a token is made of, hundreds of them one
// after another: waking goroutines for each would take longer than the work. So
// between start and stop its goroutines look for work all the time.
type crew struct {
	workers []worker // one for each goroutine, the first for the caller's
	job     atomic.Pointer[job]
	ended   atomic.Bool
	members sync.WaitGroup
}

// job is some tasks.
type job struct {
	tasks int64
	do    func(w *worker, task int) error
	next  atomic.Int64 // task to begin
	done  atomic.Int64
	err   atomic.Pointer[error] // the first
}

// lookAgain is how often to look for something before others get a turn.
const lookAgain = 256

func (c *crew) start() {
	c.ended.Store(false)
	c.job.Store(nil)
	for i := range c.workers[1:] {
		c.members.Go(func() { c.work(&c.workers[i+1]) })
	}
}

func (c *crew) stop() {
	c.ended.Store(true)
	c.members.Wait()
}

// work does the jobs that come up.
func (c *crew) work(w *worker) {
	var last *job
	for idle := 0; ; idle++ {
		if j := c.job.Load(); j != last {
			last, idle = j, 0
			j.work(w)
		}
		if c.ended.Load() {
			return
		}
		if idle%lookAgain == lookAgain-1 {
			runtime.Gosched()
		}
	}
}

// run calls f once for each of n tasks and returns the first error.
func (c *crew) run(n int, f func(w *worker, task int) error) error {
	if n == 1 {
		return f(&c.workers[0], 0)
	}
	j := &job{tasks: int64(n), do: f}
	c.job.Store(j)
	j.work(&c.workers[0])
	for idle := 1; j.done.Load() < j.tasks; idle++ {
		if idle%lookAgain == 0 {
			runtime.Gosched()
		}
	}
	if err := j.err.Load(); err != nil {
		return *err
	}
	return nil
}

// work does tasks until none are left. After an error they are only counted.
func (j *job) work(w *worker) {
	for task := j.next.Add(1) - 1; task < j.tasks; task = j.next.Add(1) - 1 {
		if j.err.Load() == nil {
			if err := j.do(w, int(task)); err != nil {
				j.err.CompareAndSwap(nil, &err)
			}
		}
		j.done.Add(1)
	}
}
