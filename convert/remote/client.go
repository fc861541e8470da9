package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// Options says how a Client reads.
type Options struct {
	// Keep has what is read from the hub kept in the hub's cache.
	Keep bool
	// Note is told what the user should know, a sentence each. It may be nil.
	Note func(string)
}

// Client reads what is elsewhere. It is safe for concurrent use. What it has seen of a
// place stays what it is for the Client: see the package.
type Client struct {
	ctx  context.Context
	opts Options
	http *web
	hub  hubSettings
	pool *pool

	mu      sync.Mutex
	repos   map[string]*repo       // of the hub, by name and revision
	objects map[string]*object     // by where they are
	stores  map[string]*bucketHost // S3, by what they are reached by
	opening singleflight.Group     // of repos and objects
}

// New returns a Client. When ctx is done, so is all reading.
func New(ctx context.Context, opts Options) *Client {
	if opts.Note == nil {
		opts.Note = func(string) {}
	}
	c := &Client{
		ctx: ctx, opts: opts, hub: readHubSettings(os.Getenv), pool: newPool(),
		repos: make(map[string]*repo), objects: make(map[string]*object), stores: make(map[string]*bucketHost),
	}
	c.http = newWeb(c.hub.token, c.hub.endpoint)
	return c
}

// Open finds what an address names: a folder, and the name of the file in it, which is empty if it is all of the
// folder. Addresses are
//
//	hf://org/name[@revision][/file]    a model of the hub, or a folder or a file of one
//	https://host/path/file.gguf        a file on a web server; of the hub's pages what they show
//	s3://bucket/key                    a file in a bucket, or those whose keys begin with key/
func (c *Client) Open(address string) (folder files.Folder, file string, err error) {
	scheme, rest, _ := strings.Cut(address, "://")
	switch strings.ToLower(scheme) {
	case "hf":
		a, err := parseHub(rest)
		if err != nil {
			return nil, "", err
		}
		return c.openHub(a)
	case "s3":
		return c.openS3(address)
	case "http", "https":
	default:
		return nil, "", fmt.Errorf("%w: %s", ErrAddress, Plain(address))
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, "", fmt.Errorf("%w: %s", ErrAddress, Plain(address))
	}
	if a, ok := c.hub.page(u); ok {
		return c.openHub(a)
	}
	return c.openWeb(u)
}

// Folder finds the folder that an address names.
func (c *Client) Folder(address string) (files.Folder, error) {
	folder, file, err := c.Open(address)
	if err == nil && file != "" {
		err = fmt.Errorf("%w: %s is a file, where a checkpoint is needed", ErrAddress, Plain(address))
	}
	return folder, err
}

// object returns what is open already of a place, or opens it, for all who want it at the time.
func (c *Client) object(where string, open func() (*object, error)) (*object, error) {
	o, err, _ := c.opening.Do(where, func() (any, error) {
		c.mu.Lock()
		o := c.objects[where]
		c.mu.Unlock()
		if o != nil {
			return o, nil
		}
		o, err := open()
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.objects[where] = o
		return o, nil
	})
	if err != nil {
		return nil, err
	}
	return o.(*object), nil
}

// absent is the error for a file that is not there.
func absent(name string) error { return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist} }

// retry calls try until it succeeds or fails for good. What is left of the answers is the
// caller's.
func (c *Client) retry(what string, most int, try func() (progress bool, err error)) error {
	for tries := 0; ; {
		progress, err := try()
		if progress {
			tries = 0
		}
		tries++
		var passing *passingError
		switch {
		case err == nil:
			return nil
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case !errors.As(err, &passing):
			return fmt.Errorf("%s: %w", what, err)
		case tries >= most:
			return fmt.Errorf("%s: %w, after %d tries", what, err, tries)
		}
		wait := min(firstPause<<(tries-1), longestPause)
		if passing.after > 0 {
			wait = min(passing.after, longestWait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
			return c.ctx.Err()
		}
	}
}

// How often what fails in passing is tried, and the pauses between.
const (
	maxTries     = 10
	firstTries   = 6 // of what comes before all else, and somebody waits for
	longestPause = 30 * time.Second
	longestWait  = 5 * time.Minute // if the server asks for it
)

var firstPause = 100 * time.Millisecond

// passingError is one that another try may not meet.
type passingError struct {
	err   error
	after time.Duration // that the server asks to wait, 0 if it does not
}

func (e *passingError) Error() string { return e.err.Error() }
func (e *passingError) Unwrap() error { return e.err }

func passing(format string, args ...any) error {
	return &passingError{err: fmt.Errorf(format, args...)}
}

// ErrAccess means that a server wants to know who asks, or does not let them.
var ErrAccess = errors.New("access denied")

// isStatus reports whether an answer has one of the statuses.
func isStatus(resp *http.Response, statuses ...int) bool {
	return slices.Contains(statuses, resp.StatusCode)
}
