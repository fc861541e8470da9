package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ggufkit/ggufkit/gguf/files"
)

const (
	// maxRedirects is how many hosts may send a request on.
	maxRedirects = 5
	// maxExplanation bounds what is read of an answer that is none.
	maxExplanation = 4 << 10
	// idle is how long a server may take for idleBytes, or for the rest if that is less.
	idleBytes = 64 << 10
)

var idle = 45 * time.Second

// web sends requests. It follows no redirect without looking at it, and knows who may get
// the token.
type web struct {
	client *http.Client
	token  string
	home   string // origin of the hub
}

func newWeb(token string, endpoint *url.URL) *web {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    20 * time.Second,
		ResponseHeaderTimeout:  idle,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    inFlight,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,                // ranges are of the file
		Protocols:              new(http.Protocols), // HTTP/1: each part on a connection of its own
	}
	transport.Protocols.SetHTTP1(true)
	return &web{
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		token:  token, home: origin(endpoint),
	}
}

// origin returns scheme, host and port.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.ToLower(u.Scheme + "://" + u.Hostname() + ":" + port)
}

// secrets takes from a text what nobody may see.
func (w *web) secrets(text string) string {
	if len(w.token) >= 4 {
		text = strings.ReplaceAll(text, w.token, "[token]")
	}
	return text
}

// newRequest returns a request without a body, and without what says who asks.
func newRequest(ctx context.Context, method string, u *url.URL, header http.Header) *http.Request {
	req := (&http.Request{Method: method, URL: u, Host: u.Host, Header: header.Clone()}).WithContext(ctx)
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	req.Header.Set("User-Agent", "ggufkit")
	return req
}

// identify says who asks. The caller has looked at who is asked.
func (w *web) identify(req *http.Request) { req.Header.Set("Authorization", "Bearer "+w.token) }

// answer is an answer and what came before it.
type answer struct {
	*http.Response
	first *http.Response // the first of the redirects, or the answer; its body is closed
	cross bool           // another host answers
}

// get asks for an address, following redirects. The caller must close the body. Errors of
// the network are passing ones; every status is an answer.
func (w *web) get(ctx context.Context, u *url.URL, header http.Header) (a *answer, err error) {
	start := origin(u)
	a = new(answer)
	for range maxRedirects + 1 {
		a.cross = a.cross || origin(u) != start
		req := newRequest(ctx, http.MethodGet, u, header)
		if u.User != nil && !a.cross {
			password, _ := u.User.Password()
			req.SetBasicAuth(u.User.Username(), password)
		} else if w.token != "" && start == w.home && !a.cross {
			w.identify(req)
		}
		resp, err := w.client.Do(req)
		if err != nil {
			return nil, w.failed(ctx, u, err)
		}
		if a.first == nil {
			a.first = resp
		}
		a.Response = resp
		location := resp.Header.Get("Location")
		if !isStatus(resp, 301, 302, 303, 307, 308) || location == "" {
			return a, nil
		}
		drain(resp.Body)
		next, err := u.Parse(location)
		if err != nil || next.Host == "" || next.Scheme != "http" && next.Scheme != "https" {
			return nil, fmt.Errorf("%s sends on to what is no address", plainURL(u))
		}
		if u.Scheme == "https" && next.Scheme == "http" {
			return nil, fmt.Errorf("%s sends on to %s, which anybody could read and change", plainURL(u), plainURL(next))
		}
		next.User = nil
		if origin(next) == origin(u) {
			next.User = u.User
		}
		u = next
	}
	return nil, fmt.Errorf("%s is where %d redirects led, and there is no end", plainURL(u), maxRedirects)
}

// failed returns the error of a request without what is secret in addresses.
func (w *web) failed(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return &passingError{err: &networkError{plainHost(u), w.secrets(err.Error())}}
}

// networkError is one of reaching a host.
type networkError struct{ host, text string }

func (e *networkError) Error() string { return e.host + ": " + e.text }

// drain reads a little, so that the connection can be used again, and closes the body.
func drain(body io.ReadCloser) {
	s := newSteady(body)
	defer s.Close()
	_, _ = io.CopyN(io.Discard, s, maxExplanation)
}

// refused returns the error of an answer that has not what was asked for, and closes it.
func (w *web) refused(resp *http.Response) error {
	defer resp.Body.Close()
	what := fmt.Sprintf("%s answers %d", plainHost(resp.Request.URL), resp.StatusCode)
	if text := http.StatusText(resp.StatusCode); text != "" {
		what += " (" + text + ")"
	}
	if why := resp.Header.Get("X-Error-Message"); why != "" {
		what += fmt.Sprintf(": %.300q", w.secrets(why))
	}
	switch {
	case isStatus(resp, http.StatusUnauthorized, http.StatusForbidden):
		return fmt.Errorf("%w: %s", ErrAccess, what)
	case passes(resp.StatusCode):
		return &passingError{errors.New(what), retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	case isStatus(resp, http.StatusRequestedRangeNotSatisfiable, http.StatusPreconditionFailed):
		return fmt.Errorf("%w: %s", files.ErrChanged, what)
	}
	return errors.New(what)
}

// passes reports whether another try may not meet a status.
func passes(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500
}

// retryAfter returns how long a server asks to wait, in seconds or until a time.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32); err == nil {
		return max(time.Millisecond, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Millisecond, at.Sub(now))
	}
	return 0
}

// part is an answer that has a part of a file.
type part struct {
	body    io.ReadCloser
	size    int64  // of the file
	version string // "" if the answer does not say
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18})$`)

// checkPart returns the size of the file of which an answer should have bytes [from, to).
func checkPart(resp *http.Response, from, to int64) (size int64, err error) {
	if from == 0 && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && resp.Header.Get("Content-Range") == "bytes */0" {
		return 0, nil // which has no part
	}
	if resp.StatusCode == http.StatusOK { // which has all of it
		if size = resp.ContentLength; from != 0 || size < 0 || size > to {
			return 0, fmt.Errorf("%s sends files only whole, not in parts", plainHost(resp.Request.URL))
		}
		return size, nil
	}
	m := contentRange.FindStringSubmatch(resp.Header.Get("Content-Range"))
	if m == nil {
		return 0, fmt.Errorf("an answer with a part of a file that does not say which: Content-Range %.60q", resp.Header.Get("Content-Range"))
	}
	var n [3]int64
	for i := range n {
		n[i], _ = strconv.ParseInt(m[i+1], 10, 64) // of 18 digits
	}
	if size = n[2]; n[0] != from || n[1]+1 != min(to, size) {
		return 0, fmt.Errorf("an answer with bytes %d to %d of %d, where %d to %d are needed", n[0], n[1], size, from, to-1)
	}
	if length := resp.ContentLength; length >= 0 && length != n[1]+1-from {
		return 0, passing("an answer of %d bytes, which should have %d", length, n[1]+1-from)
	}
	return size, nil
}

// checked is checkPart for any answer, which it closes if there is an error.
func (w *web) checked(resp *http.Response, from, to int64) (size int64, err error) {
	empty := from == 0 && resp.Header.Get("Content-Range") == "bytes */0"
	if !empty && !isStatus(resp, http.StatusOK, http.StatusPartialContent) {
		return 0, w.refused(resp)
	}
	if size, err = checkPart(resp, from, to); err != nil {
		_ = resp.Body.Close()
	}
	return size, err
}

// rangeHeader asks for bytes [from, to).
func rangeHeader(from, to int64) http.Header {
	return http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, to-1)}, "Accept-Encoding": {"identity"}}
}

// versionOf returns what tells a file from what it becomes when it changes.
func versionOf(header http.Header) string {
	if etag := strings.TrimPrefix(header.Get("ETag"), "W/"); etag != "" {
		return strings.Trim(etag, `"`)
	}
	return header.Get("Last-Modified")
}

// webFile is a file on a web server.
type webFile struct {
	*web
	url *url.URL
}

func (f *webFile) get(ctx context.Context, from, to int64) (*part, error) {
	a, err := f.web.get(ctx, f.url, rangeHeader(from, to))
	if err != nil {
		return nil, err
	}
	if a.StatusCode == http.StatusNotFound || a.StatusCode == http.StatusGone {
		drain(a.Body)
		return nil, absent(plainURL(f.url))
	}
	size, err := f.checked(a.Response, from, to)
	if err != nil {
		return nil, err
	}
	return &part{a.Body, size, versionOf(a.Header)}, nil
}

// webFolder is where a file lies on a web server, which cannot be asked what else is there.
type webFolder struct {
	c    *Client
	base *url.URL // ends with a slash
}

func (c *Client) openWeb(u *url.URL) (files.Folder, string, error) {
	dir, name := path.Split(u.Path)
	if name == "" || !validName(name) {
		return nil, "", fmt.Errorf("%w: %s: the name of a file is needed", ErrAddress, plainURL(u))
	}
	base := *u
	base.Path, base.RawPath, base.Fragment = dir, "", ""
	return &webFolder{c, &base}, name, nil
}

func (f *webFolder) at(name string) *url.URL {
	u := *f.base
	if name != "." {
		u.Path += name
	}
	return &u
}

func (f *webFolder) Path(name string) string { return plainURL(f.at(name)) }

func (f *webFolder) List(string) ([]string, error) {
	return nil, fmt.Errorf("%s: what is on a web server cannot be listed: %w", f.Path("."), errors.ErrUnsupported)
}

func (f *webFolder) Open(name string) (*files.File, error) {
	if !validName(name) {
		return nil, absent(f.Path("."))
	}
	u := f.at(name)
	o, err := f.c.object(u.String(), func() (*object, error) {
		return f.c.newObject(f.Path(name), &webFile{f.c.http, u}, -1, "")
	})
	if err != nil {
		return nil, err
	}
	return files.NewFile(f.Path(name), o), nil
}
