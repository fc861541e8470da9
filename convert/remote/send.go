package remote

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// send sends a body of so many bytes. The token goes to the hub alone. It follows no redirect: an answer that is not a
// success is an error, passing or not as for get. The caller must close the body of the answer.
func (w *web) send(ctx context.Context, method string, u *url.URL, header http.Header, body io.Reader, n int64) (*http.Response, error) {
	req := newRequest(ctx, method, u, header)
	if req.ContentLength = n; n == 0 {
		req.Body = http.NoBody
	} else {
		req.Body = io.NopCloser(body)
	}
	if w.token != "" && origin(u) == w.home {
		w.identify(req)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, w.failed(ctx, u, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, w.refused(resp)
	}
	return resp, nil
}

// sentBytes are those of a file that were sent.
type sentBytes struct {
	u *uploader
	n atomic.Int64
}

func (s *sentBytes) add(n int64) {
	s.n.Add(n)
	s.u.report(n)
}

// undo takes back what was sent for nothing.
func (s *sentBytes) undo() { s.add(-s.n.Load()) }

// watched is a body that is being sent, as long as somebody takes it.
type watched struct {
	io.Reader
	timer *time.Timer
	done  *sentBytes

	mu      sync.Mutex
	n       int64
	stopped bool
}

func (w *watched) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := w.Reader.Read(p)
	w.n += int64(n)
	w.done.add(int64(n))
	if err != nil {
		w.timer.Stop() // the answer has a time of its own
	} else {
		w.timer.Reset(idle)
	}
	return n, err
}

// giveUp takes back what was sent, and lets nothing more be.
func (w *watched) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.done.add(-w.n)
}
