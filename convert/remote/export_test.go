package remote

import (
	"crypto/tls"
	"net/http"
	"time"

	"github.com/ggufkit/ggufkit/gguf/files"
)

func init() { firstPause = time.Millisecond }

// SetIdle has servers be waited for no longer.
func SetIdle(d time.Duration) (undo func()) {
	before := idle
	idle = d
	return func() { idle = before }
}

// Trust has the client believe any server.
func (c *Client) Trust() {
	c.http.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // servers of tests
}

// Pages returns how many pages there are and under way.
func (c *Client) Pages() int {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return c.pool.pages.Len()
}

// What tests look at by itself.
const (
	PageBytes = pageBytes
	Memory    = memory
)

var (
	RetryAfter = retryAfter
	ValidName  = validName
)

// ParseListing reads what a hub says of a model, and returns sizes by names.
func ParseListing(data []byte) (map[string]int64, error) {
	var r repo
	if err := r.parse(data); err != nil {
		return nil, err
	}
	sizes := make(map[string]int64)
	for name, e := range r.entries {
		sizes[name] = e.size
	}
	return sizes, nil
}

// ParseHub reads an address of the hub.
func ParseHub(address string) (id, revision, file string, err error) {
	a, err := parseHub(address)
	return a.id, a.revision, a.file, err
}

// CheckPart checks an answer to a request for a part.
func CheckPart(status int, contentRange string, length, from, to int64) (int64, error) {
	request, _ := http.NewRequest(http.MethodGet, "http://host/", nil)
	return checkPart(&http.Response{StatusCode: status, ContentLength: length, Header: http.Header{"Content-Range": {contentRange}}, Request: request}, from, to)
}

// EndRun lets go of what is kept of a file, as the end of the process does.
func EndRun(f *files.File) {
	k := f.Object.(*object).keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	k.end(false)
}
