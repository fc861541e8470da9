// Package hubtest has a server for tests that does what the Hugging Face Hub does for those
// who read models, and for those who put files into repositories: it lists the files of a commit,
// sends on to another host for large files,
// with links that are good for a time, and has bad days.
package hubtest

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Server is a hub, and the host that its large files lie on. Fields may be set before it is
// used, and Trouble, LinkUses and Served in Change at any time.
type Server struct {
	// URL is where the hub is, for HF_ENDPOINT, and CDN where its large files are.
	URL, CDN string
	// Token is what private models want; "" if there are none.
	Token string
	// Trouble is how many of a hundred answers are errors, or end too early.
	Trouble int
	// LinkUses is for how many requests a link is good, 0 for any number.
	LinkUses int
	// Large is from which size on files are on the other host.
	Large int64
	// Chunk is in how large parts files are to be sent, 0 for whole.
	Chunk int64
	// Served is called before each answer with the host, "hub" or "cdn", and may answer
	// instead: then it returns true.
	Served func(host string, w http.ResponseWriter, r *http.Request) bool

	hub, cdn *httptest.Server
	sent     atomic.Int64
	requests atomic.Int64

	mu     sync.Mutex
	repos  map[string]string // directories, by names of models
	random *rand.Rand
	uses   map[string]int
	leaks  []string
	// What was sent to the server.
	uploads  uploads
	received int64
	commits  []string
	sums     map[string]sums
}

type sums struct{ git, sha256 string }

// New starts a Server. The caller must close it.
func New() *Server {
	s := &Server{Large: 64 << 10, repos: make(map[string]string), uses: make(map[string]int), sums: make(map[string]sums), random: rand.New(rand.NewPCG(1, 2))}
	s.hub = httptest.NewServer(s.answering("hub", s.serveHub))
	s.cdn = httptest.NewServer(s.answering("cdn", s.serveCDN))
	s.URL, s.CDN = s.hub.URL, s.cdn.URL
	return s
}

// Close stops the server.
func (s *Server) Close() {
	s.hub.Close()
	s.cdn.Close()
}

// Change calls a function that may set fields, while no request looks at them.
func (s *Server) Change(set func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set()
}

// Add has a model's files be those of a directory. Private models are called private/NAME.
func (s *Server) Add(id, dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repos[id] = dir
}

// Sent returns how many bytes were sent.
func (s *Server) Sent() int64 { return s.sent.Load() }

// Requests returns how often something was asked for.
func (s *Server) Requests() int64 { return s.requests.Load() }

// Leaks returns what came to the other host that is the hub's business alone.
func (s *Server) Leaks() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.leaks)
}

// counted counts the bytes of a body, and may break off.
type counted struct {
	http.ResponseWriter
	s    *Server
	left int // until it breaks off; negative if it does not
}

func (c *counted) Write(p []byte) (int, error) {
	if c.left >= 0 {
		if len(p) > c.left {
			_, _ = c.ResponseWriter.Write(p[:c.left])
			panic(http.ErrAbortHandler)
		}
		c.left -= len(p)
	}
	c.s.sent.Add(int64(len(p))) // before they are: who has them all may ask how many
	n, err := c.ResponseWriter.Write(p)
	c.s.sent.Add(int64(n - len(p)))
	return n, err
}

// answering has requests answered, or not.
func (s *Server) answering(host string, serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		s.mu.Lock()
		served := s.Served
		s.mu.Unlock()
		if served != nil && served(host, w, r) {
			return
		}
		s.mu.Lock()
		trouble, kind, left := s.random.IntN(100) < s.Trouble, s.random.IntN(4), s.random.IntN(8<<10)
		s.mu.Unlock()
		c := &counted{w, s, -1}
		if trouble {
			switch kind {
			case 0:
				w.Header().Set("Retry-After", "0")
				http.Error(w, "too many requests", http.StatusTooManyRequests)
				return
			case 1:
				http.Error(w, "a bad day", http.StatusBadGateway)
				return
			case 2:
				panic(http.ErrAbortHandler)
			case 3:
				c.left = left
			}
		}
		serve(c, r)
	})
}

// fail answers as the hub does.
func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", message)
	w.WriteHeader(status)
}

// dir returns the directory of a model that somebody may read, or answers that there is none.
func (s *Server) dir(w http.ResponseWriter, r *http.Request, id string) (string, bool) {
	s.mu.Lock()
	dir, ok := s.repos[id]
	s.mu.Unlock()
	allowed := !strings.HasPrefix(id, "private/") || r.Header.Get("Authorization") == "Bearer "+s.Token
	switch {
	case ok && allowed:
		return dir, true
	case r.Header.Get("Authorization") == "":
		fail(w, http.StatusUnauthorized, "RepoNotFound", "Invalid username or password.")
	default:
		fail(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
	}
	return "", false
}

func (s *Server) serveHub(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	switch {
	case r.Method == http.MethodPost:
		s.receive(w, r, parts)
	case len(parts) == 6 && parts[0] == "api" && parts[1] == "models" && parts[4] == "revision":
		s.list(w, r, parts[2]+"/"+parts[3], parts[5])
	case len(parts) == 6 && parts[0] == "api" && parts[1] == "models" && parts[4] == "tree":
		s.tree(w, r, parts[2]+"/"+parts[3], parts[5])
	case len(parts) >= 5 && parts[2] == "resolve":
		s.resolve(w, r, parts[0]+"/"+parts[1], parts[3], strings.Join(parts[4:], "/"))
	default:
		http.NotFound(w, r)
	}
}

// Commit returns the commit that a directory is: what is in it makes it.
func (s *Server) Commit(dir string) string {
	h := sha1.New()
	for _, name := range names(dir) {
		fmt.Fprintln(h, name, s.sumsOf(filepath.Join(dir, filepath.FromSlash(name))).git)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// names returns those of all files, with slashes.
func names(dir string) (names []string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, filepath.ToSlash(name))
		}
		return nil
	})
	return names
}

// sumsOf returns the hashes of a file. Those of a very large one, which tests make of nothing, are
// not of its content.
func (s *Server) sumsOf(path string) sums {
	info, err := os.Stat(path)
	if err != nil {
		return sums{}
	}
	key := fmt.Sprint(path, info.Size(), info.ModTime().UnixNano())
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.sums[key]; ok {
		return known
	}
	git, large := sha1.New(), sha256.New()
	fmt.Fprintf(git, "blob %d\x00", info.Size())
	if info.Size() > 1<<30 {
		fmt.Fprint(git, key)
		fmt.Fprint(large, key)
	} else if f, err := os.Open(path); err == nil {
		defer f.Close()
		_, _ = io.Copy(io.MultiWriter(git, large), f)
	}
	known := sums{hex.EncodeToString(git.Sum(nil)), hex.EncodeToString(large.Sum(nil))}
	s.sums[key] = known
	return known
}

// isRevision reports whether a revision is the only commit that there is, or answers that there is none.
func isRevision(w http.ResponseWriter, revision, commit string) bool {
	if revision != "main" && revision != commit {
		fail(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
		return false
	}
	return true
}

// list answers with what there is at a revision.
func (s *Server) list(w http.ResponseWriter, r *http.Request, id, revision string) {
	dir, ok := s.dir(w, r, id)
	if !ok {
		return
	}
	commit := s.Commit(dir)
	if !isRevision(w, revision, commit) {
		return
	}
	type lfs struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	}
	type sibling struct {
		Name string `json:"rfilename"`
		Size *int64 `json:"size,omitempty"`
		Blob string `json:"blobId,omitempty"`
		LFS  *lfs   `json:"lfs,omitempty"`
	}
	var siblings []sibling
	for _, name := range names(dir) {
		file := sibling{Name: name}
		if r.URL.Query().Get("blobs") == "true" {
			path := filepath.Join(dir, filepath.FromSlash(name))
			info, err := os.Stat(path)
			if err != nil {
				continue
			}
			size, known := info.Size(), s.sumsOf(path)
			file.Size, file.Blob = &size, known.git
			if size >= s.Large {
				file.LFS = &lfs{known.sha256, size}
			}
		}
		siblings = append(siblings, file)
	}
	answer(w, map[string]any{"id": id, "sha": commit, "private": strings.HasPrefix(id, "private/"), "siblings": siblings})
}

// tree answers with the files of a commit, which is how huggingface_hub finds them.
func (s *Server) tree(w http.ResponseWriter, r *http.Request, id, revision string) {
	dir, ok := s.dir(w, r, id)
	if !ok {
		return
	}
	if !isRevision(w, revision, s.Commit(dir)) {
		return
	}
	files := []map[string]any{}
	for _, name := range names(dir) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		known := s.sumsOf(path)
		file := map[string]any{"type": "file", "path": name, "size": info.Size(), "oid": known.git}
		if info.Size() >= s.Large {
			file["lfs"] = map[string]any{"oid": known.sha256, "size": info.Size(), "pointerSize": 130}
		}
		files = append(files, file)
	}
	answer(w, files)
}

// resolve answers with a file, or where it is.
func (s *Server) resolve(w http.ResponseWriter, r *http.Request, id, revision, name string) {
	dir, ok := s.dir(w, r, id)
	if !ok {
		return
	}
	commit := s.Commit(dir)
	w.Header().Set("X-Repo-Commit", commit)
	if !isRevision(w, revision, commit) {
		return
	}
	file := filepath.Join(dir, filepath.FromSlash(path.Clean("/"+name)))
	info, err := os.Stat(file)
	if err != nil || info.IsDir() {
		fail(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	known := s.sumsOf(file)
	if info.Size() < s.Large {
		w.Header().Set("ETag", `"`+known.git+`"`)
		http.ServeFileFS(w, r, os.DirFS(filepath.Dir(file)), filepath.Base(file))
		return
	}
	w.Header().Set("X-Linked-Etag", `"`+known.sha256+`"`)
	w.Header().Set("X-Linked-Size", strconv.FormatInt(info.Size(), 10))
	query := url.Values{"file": {file}, "nonce": {strconv.FormatInt(s.requests.Load(), 36)}}
	query.Set("signature", sign(query))
	w.Header().Set("Location", s.CDN+"/"+known.sha256+"?"+query.Encode())
	w.WriteHeader(http.StatusFound)
}

// sign returns the signature of a link.
func sign(query url.Values) string {
	mac := hmac.New(sha256.New, []byte("the hub's own"))
	fmt.Fprint(mac, query.Get("file"), query.Get("nonce"))
	return hex.EncodeToString(mac.Sum(nil))
}

func (s *Server) serveCDN(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	s.mu.Lock()
	for name := range r.Header {
		if name == "Authorization" || name == "Cookie" {
			s.leaks = append(s.leaks, name+": "+r.Header.Get(name))
		}
	}
	s.uses[query.Get("nonce")]++
	expired := s.LinkUses > 0 && s.uses[query.Get("nonce")] > s.LinkUses
	s.mu.Unlock()
	if !hmac.Equal([]byte(query.Get("signature")), []byte(sign(query))) || expired {
		http.Error(w, "Request has expired", http.StatusForbidden)
		return
	}
	if r.Method == http.MethodPut {
		s.take(w, r)
		return
	}
	file := query.Get("file")
	w.Header().Set("ETag", `"`+s.sumsOf(file).sha256[:32]+`"`)
	http.ServeFileFS(w, r, os.DirFS(filepath.Dir(file)), filepath.Base(file))
}
