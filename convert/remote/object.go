package remote

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/ggufkit/ggufkit/gguf/files"
)

const (
	// pageBytes is what files are read in multiples of.
	pageBytes = 16 << 10
	// runPages is the largest number of pages of one request.
	runPages = 256
	// inFlight is how many requests are under way at a time, and aheadPages how much of what
	// follows what is read in order.
	inFlight   = 8
	aheadPages = inFlight * runPages
	// steadyPages is after how many pages in order more is read ahead than a part of what was read.
	steadyPages = 64
	// memory bounds the pages that are there or under way.
	memory = 64 << 20
	// maxStreams is in how many places of a file somebody can read in order.
	maxStreams = 8
)

// pagesOf returns how many pages so many bytes are.
func pagesOf(n int64) int64 { return (n + pageBytes - 1) / pageBytes }

// source is something of which parts can be had.
type source interface {
	// get asks for bytes [from, to), or as many of them as there are. The caller closes the body.
	get(ctx context.Context, from, to int64) (*part, error)
}

// pool are the pages of all objects of a Client, of which those that nobody needs for
// longest go first.
type pool struct {
	slots chan struct{} // one for each request under way

	mu    sync.Mutex
	pages *list.List // of *page; the front was used last
	under int        // how many are under way
}

func newPool() *pool { return &pool{slots: make(chan struct{}, inFlight), pages: list.New()} }

// page is a part of an object.
type page struct {
	of   *object
	no   int64
	data []byte
	err  error
	// ready is closed when data, or err, is there.
	ready chan struct{}
	elem  *list.Element
}

// stream is a place in an object where somebody reads in order.
type stream struct {
	start, next int64 // pages
	ahead       int64 // up to which they are asked for
	used        int64 // when
}

// object is a file elsewhere. It implements files.Object: what was read is in pages, and
// pages are read together.
type object struct {
	c      *Client
	name   string
	source source
	keeper *keeper // nil if nothing is kept

	size  int64
	fixed string // what it is a version of, "" if nobody said that it does not change
	oid   string // the hub's hash, SHA-256 of large files, Git's of others, "" if it does not say

	mu      sync.Mutex
	version string // of the first answer, "" while there is none
	changed error
	pages   map[int64]*page
	streams []*stream
	clock   int64
	starts  []int64 // of sections
}

// newObject returns an object of a size, or, if that is negative, asks how large it is.
func (c *Client) newObject(name string, src source, size int64, fixed string) (*object, error) {
	o := &object{c: c, name: name, source: src, size: size, fixed: fixed, pages: make(map[int64]*page)}
	if size >= 0 {
		return o, nil
	}
	var data []byte
	err := c.retry(name, firstTries, func() (bool, error) {
		p, err := src.get(c.ctx, 0, pageBytes)
		if err != nil {
			return false, err
		}
		body := newSteady(p.body)
		defer body.Close()
		data = make([]byte, min(p.size, pageBytes))
		if _, err := io.ReadFull(body, data); err != nil {
			return false, c.broken(err)
		}
		o.size, o.version = p.size, p.version
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if len(data) > 0 {
		o.add(0).finish(data, nil)
	}
	return o, nil
}

// broken returns the error of an answer that stopped before its end.
func (c *Client) broken(err error) error {
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	return passing("the connection broke off: %s", c.http.secrets(err.Error()))
}

// Size implements files.Object.
func (o *object) Size() int64 { return o.size }

// Version implements files.Object.
func (o *object) Version() string {
	if o.fixed != "" {
		return fmt.Sprintf("%d bytes, %s", o.size, o.fixed)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("%d bytes, version %s", o.size, o.version)
}

// SHA256 implements files.Summed.
func (o *object) SHA256() string {
	if len(o.oid) == sha256.Size*2 {
		return o.oid
	}
	return ""
}

// Pin implements files.Pinned: the hub's hash, else the version.
func (o *object) Pin() string {
	if o.oid != "" {
		return o.oid
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.version == "" {
		return o.fixed
	}
	return o.version
}

// Unchanged implements files.Object. Nothing is asked: every answer was compared with the
// first.
func (o *object) Unchanged() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// Close implements files.Object. What was read stays in the Client's memory, since it may be
// read again.
func (o *object) Close() error { return o.keeper.save(o) }

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: offset %d", o.name, off)
	}
	if off >= o.size {
		return 0, io.EOF
	}
	if int64(len(p)) > o.size-off {
		p, err = p[:o.size-off], io.EOF
	}
	for n < len(p) {
		// Not more at a time than there is room for.
		some := min(len(p)-n, runPages*pageBytes)
		first, last := off/pageBytes, (off+int64(some)-1)/pageBytes
		for _, pg := range o.take(first, last, off, off+int64(some)) {
			if err := o.wait(pg); err != nil {
				return n, err
			}
			m := copy(p[n:], pg.data[off-pg.no*pageBytes:])
			n, off = n+m, off+int64(m)
		}
	}
	return n, err
}

// wait waits for a page.
func (o *object) wait(pg *page) error {
	select {
	case <-pg.ready:
		return pg.err
	case <-o.c.ctx.Done():
		return o.c.ctx.Err()
	}
}

// Prefetch implements files.Object.
func (o *object) Prefetch(offset, n int64) {
	n = min(n, o.size-offset, aheadPages*pageBytes)
	if offset < 0 || n <= 0 {
		return
	}
	first, last := offset/pageBytes, (offset+n-1)/pageBytes
	o.mu.Lock()
	defer o.mu.Unlock()
	if last = min(last, first+o.c.pool.room()-1); first <= last {
		o.ask(first, last)
	}
}

// Sections implements files.Sectioned.
func (o *object) Sections(starts []int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.starts = starts
}

// take returns the pages of bytes [from, to), which are there or asked for, and asks for more
// if they are read in order.
func (o *object) take(first, last, from, to int64) []*page {
	o.mu.Lock()
	defer o.mu.Unlock()
	pages := o.ask(first, last)
	if next, end := o.follow(first, last, from, to); end > next {
		o.ask(next, end-1)
	}
	return pages
}

// follow returns which pages, [next, end), somebody who reads these will want soon. Several
// goroutines that read in order do not come in order.
func (o *object) follow(first, last, from, to int64) (next, end int64) {
	limit, begins := o.size, false
	if len(o.starts) > 0 {
		_, begins = slices.BinarySearch(o.starts, from)
		if i, _ := slices.BinarySearch(o.starts, to); i < len(o.starts) {
			limit = o.starts[i]
		}
	}
	o.clock++
	var s *stream
	for _, other := range o.streams {
		if first >= other.next-2*runPages && first <= other.next+runPages/2 && first >= other.start {
			s = other
			break
		}
	}
	if s == nil {
		s = &stream{start: first, next: first, ahead: first}
		if len(o.streams) == maxStreams {
			oldest := slices.MinFunc(o.streams, func(a, b *stream) int { return int(a.used - b.used) })
			o.streams = slices.DeleteFunc(o.streams, func(other *stream) bool { return other == oldest })
		}
		o.streams = append(o.streams, s)
	}
	s.used, s.next = o.clock, max(s.next, last+1)
	read := s.next - s.start
	window := read / 4 // so that headers do not cost much more than they have
	switch {
	case begins:
		window = aheadPages
	case read <= last-first+1: // the first time
		return 0, 0
	case read > steadyPages:
		window = min(read, aheadPages)
	}
	if s.ahead > s.next+window/2 { // there is still enough, and it becomes a larger request
		return 0, 0
	}
	next = max(s.next, s.ahead)
	want := min(s.next+window, pagesOf(limit))
	if end = min(want, next+o.c.pool.room()); end < want && end < next+min(window/2, runPages) {
		return 0, 0 // there is no room for a request worth it
	}
	s.ahead = max(s.ahead, end)
	return next, end
}

// ask returns pages, after it has begun to read those that are not there. o.mu is held.
func (o *object) ask(first, last int64) []*page {
	pages := make([]*page, 0, last-first+1)
	var missing []*page
	flush := func() {
		if len(missing) > 0 {
			go o.load(missing)
			missing = nil
		}
	}
	for no := first; no <= last; no++ {
		pg := o.pages[no]
		if pg != nil {
			flush()
			o.c.pool.touch(pg)
		} else {
			if len(missing) == runPages || len(missing) > 0 && o.keeper.has(no) != o.keeper.has(no-1) {
				flush()
			}
			pg = o.addLocked(no)
			missing = append(missing, pg)
		}
		pages = append(pages, pg)
	}
	flush()
	return pages
}

func (o *object) add(no int64) *page {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.addLocked(no)
}

// addLocked adds an empty page, for which others may go.
func (o *object) addLocked(no int64) *page {
	pg := &page{of: o, no: no, ready: make(chan struct{})}
	o.pages[no] = pg
	pool := o.c.pool
	pool.mu.Lock()
	defer pool.mu.Unlock()
	pool.under++
	pg.elem = pool.pages.PushFront(pg)
	for e := pool.pages.Back(); e != nil && pool.pages.Len() > memory/pageBytes; {
		old, before := e.Value.(*page), e.Prev()
		select {
		case <-old.ready:
			pool.pages.Remove(e)
			old.elem = nil
			if old.of == o {
				delete(o.pages, old.no)
			} else {
				go old.of.forget(old) // whose lock is not ours
			}
		default: // it is under way
		}
		e = before
	}
	return pg
}

// forget drops a page, so that it is read again if somebody needs it.
func (o *object) forget(pg *page) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pages[pg.no] == pg {
		delete(o.pages, pg.no)
	}
	o.c.pool.drop(pg)
}

// room returns how many pages may be read ahead.
func (p *pool) room() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, memory/pageBytes/2-int64(p.under))
}

// finish makes a page ready.
func (pg *page) finish(data []byte, err error) {
	pg.data, pg.err = data, err
	close(pg.ready)
	pool := pg.of.c.pool
	pool.mu.Lock()
	defer pool.mu.Unlock()
	pool.under--
}

func (p *pool) touch(pg *page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pg.elem != nil {
		p.pages.MoveToFront(pg.elem)
	}
}

func (p *pool) drop(pg *page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pg.elem != nil {
		p.pages.Remove(pg.elem)
		pg.elem = nil
	}
}

// load reads pages that follow each other, and makes them ready one after the other.
func (o *object) load(run []*page) {
	fail := func(err error) {
		for _, pg := range run {
			pg.finish(nil, err)
			o.forget(pg)
		}
	}
	if run = o.keeper.load(run); len(run) == 0 {
		return
	}
	select {
	case o.c.pool.slots <- struct{}{}:
		defer func() { <-o.c.pool.slots }()
	case <-o.c.ctx.Done():
		fail(o.c.ctx.Err())
		return
	}
	release, err := o.keeper.claim(o.c.ctx, run)
	defer release()
	for err == nil && len(run) > 0 {
		if run = o.keeper.load(run); len(run) == 0 {
			return
		}
		some := 1 // pages that nobody has kept
		for some < len(run) && !o.keeper.has(run[some].no) {
			some++
		}
		err = o.c.retry(o.name, maxTries, func() (progress bool, err error) {
			left, err := o.loadSome(run[:some])
			got := some - len(left)
			run, some = run[got:], len(left)
			return got > 0, err
		})
	}
	if err != nil {
		fail(err)
	}
}

// loadSome reads pages in one request, and returns those that it did not get.
func (o *object) loadSome(run []*page) ([]*page, error) {
	if err := o.Unchanged(); err != nil {
		return run, err
	}
	ctx, cancel := context.WithCancel(o.c.ctx)
	defer cancel()
	from := run[0].no * pageBytes
	to := min((run[len(run)-1].no+1)*pageBytes, o.size)
	p, err := o.source.get(ctx, from, to)
	if err != nil {
		return run, o.note(err)
	}
	body := newSteady(p.body)
	defer body.Close()
	if err := o.check(p); err != nil {
		return run, err
	}
	for len(run) > 0 {
		pg := run[0]
		data := make([]byte, min(pageBytes, o.size-pg.no*pageBytes))
		if _, err := io.ReadFull(body, data); err != nil {
			return run, o.c.broken(err)
		}
		o.keeper.keep(pg.no, data)
		pg.finish(data, nil)
		run = run[1:]
	}
	return nil, nil
}

// check compares an answer with what is known, which an error stays.
func (o *object) check(p *part) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.changed != nil:
	case p.size != o.size:
		o.changed = fmt.Errorf("%s: %w: it has %d bytes, there were %d", o.name, files.ErrChanged, p.size, o.size)
	case p.version != "" && o.version == "":
		o.version = p.version
	case p.version != "" && p.version != o.version:
		o.changed = fmt.Errorf("%s: %w: it is version %.80q, it was %.80q", o.name, files.ErrChanged, p.version, o.version)
	}
	return o.changed
}

// note remembers an error by which the file is known to be another.
func (o *object) note(err error) error {
	if errors.Is(err, files.ErrChanged) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.changed == nil {
			o.changed = fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return err
}

// steady is the body of an answer that must not stop to come: it is closed if a part of it
// takes too long.
type steady struct {
	body  io.ReadCloser
	timer *time.Timer
	left  int // until the time begins anew
	late  chan struct{}
}

func newSteady(body io.ReadCloser) *steady {
	s := &steady{body: body, left: idleBytes, late: make(chan struct{})}
	s.timer = time.AfterFunc(idle, func() {
		close(s.late)
		_ = body.Close()
	})
	return s
}

func (s *steady) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if s.left -= n; s.left <= 0 && s.timer.Stop() {
		s.left = idleBytes
		s.timer.Reset(idle)
	}
	select {
	case <-s.late:
		err = fmt.Errorf("less than %d bytes came in %v", idleBytes, idle)
	default:
	}
	return n, err
}

func (s *steady) Close() {
	s.timer.Stop()
	_ = s.body.Close()
}
