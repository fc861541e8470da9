package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/ggufkit/ggufkit/gguf/files"
)

const (
	// maxListing bounds what the hub may say of a model, and maxFiles how many files that has.
	maxListing = 64 << 20
	maxFiles   = 100_000
	// maxToken is longer than any token.
	maxToken = 4 << 10
)

// hubSettings say where the hub is, and who asks.
type hubSettings struct {
	endpoint *url.URL
	token    string
	cache    string // directory
	offline  bool
}

// readHubSettings reads what huggingface_hub reads of the environment.
func readHubSettings(getenv func(string) string) hubSettings {
	first := func(names ...string) string {
		for _, name := range names {
			if value := getenv(name); value != "" {
				return value
			}
		}
		return ""
	}
	var s hubSettings
	home := getenv("HF_HOME")
	if home == "" {
		base := getenv("XDG_CACHE_HOME")
		if base == "" {
			if user, err := os.UserHomeDir(); err == nil {
				base = filepath.Join(user, ".cache")
			}
		}
		if base != "" {
			home = filepath.Join(base, "huggingface")
		}
	}
	if s.cache = first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"); s.cache == "" && home != "" {
		s.cache = filepath.Join(home, "hub")
	}
	if s.token = first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"); s.token == "" {
		file := getenv("HF_TOKEN_PATH")
		if file == "" && home != "" {
			file = filepath.Join(home, "token")
		}
		s.token = readToken(file)
	}
	s.token = strings.TrimSpace(s.token)
	switch strings.ToUpper(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")) {
	case "1", "ON", "YES", "TRUE":
		s.offline = true
	}
	const official = "https://huggingface.co"
	endpoint, err := url.Parse(strings.TrimRight(first("HF_ENDPOINT"), "/"))
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "https" && endpoint.Scheme != "http" {
		endpoint, _ = url.Parse(official) // which is an address
	}
	s.endpoint = endpoint
	return s
}

// at returns the address of what names lead to, in which whatever stands is escaped.
func (s *hubSettings) at(names ...string) *url.URL {
	u := *s.endpoint
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.EscapedPath(), "/")
	for _, name := range names {
		u.Path += "/" + name
		u.RawPath += "/" + url.PathEscape(name)
	}
	return &u
}

// api returns the address of something that the hub does for a revision of a model.
func (s *hubSettings) api(a hubAddress, what string) *url.URL {
	return s.at(slices.Concat([]string{"api", "models"}, strings.Split(a.id, "/"), []string{what, a.revision})...)
}

// readToken returns what a file of a token has, "" if there is none.
func readToken(path string) string {
	if path == "" {
		return ""
	}
	f, err := files.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxToken))
	if err != nil {
		return ""
	}
	return string(data)
}

// page returns what a page of the hub shows: of a model, of a folder or a file.
func (s *hubSettings) page(u *url.URL) (a hubAddress, ok bool) {
	if origin(u) != origin(s.endpoint) || s.endpoint.Path != "" || u.User != nil {
		return a, false
	}
	parts := strings.SplitN(strings.Trim(u.Path, "/"), "/", 5)
	switch {
	case len(parts) == 2:
	case len(parts) >= 4 && slices.Contains([]string{"resolve", "blob", "raw", "tree"}, parts[2]):
		a.revision = parts[3]
		if len(parts) == 5 {
			a.file = parts[4]
		}
	default:
		return a, false
	}
	rest := parts[0] + "/" + parts[1]
	if a.revision != "" {
		rest += "@" + url.PathEscape(a.revision)
	}
	if a.file != "" {
		rest += "/" + a.file
	}
	a, err := parseHub(rest)
	return a, err == nil
}

// hubEntry is a file of a model.
type hubEntry struct {
	size int64 // -1 if it is not known
	oid  string
}

// repo is a model of the hub at a commit.
type repo struct {
	c       *Client
	address hubAddress // without a file
	commit  string
	entries map[string]hubEntry
	cache   *hubCache
	offline bool
	err     error // why it cannot be read
}

// openHub finds a model of the hub, or a file of it.
func (c *Client) openHub(a hubAddress) (files.Folder, string, error) {
	file := a.file
	a.file = ""
	r, err := c.repo(a)
	if err != nil {
		return nil, "", err
	}
	if _, ok := r.entries[file]; ok {
		return &hubFolder{r, path.Dir(file)}, path.Base(file), nil
	}
	if file == "" {
		return &hubFolder{r, "."}, "", nil
	}
	for name := range r.entries {
		if strings.HasPrefix(name, file+"/") {
			return &hubFolder{r, file}, "", nil
		}
	}
	return nil, "", r.noFile(file)
}

// noFile is the error for a file that a model has not; it says which GGUF files there are.
func (r *repo) noFile(file string) error {
	a := r.address
	a.file = file
	var there []string
	for name := range r.entries {
		if strings.HasSuffix(name, ".gguf") {
			there = append(there, name)
		}
	}
	slices.Sort(there)
	switch n := len(there); {
	case n > 8:
		return fmt.Errorf("%w (there are %s and %d more)", absent(a.String()), strings.Join(there[:8], ", "), n-8)
	case n > 0:
		return fmt.Errorf("%w (there are %s)", absent(a.String()), strings.Join(there, ", "))
	}
	return absent(a.String())
}

// repo returns a model at the commit that its revision is, or was when the Client first saw
// it.
func (c *Client) repo(a hubAddress) (*repo, error) {
	found, _, _ := c.opening.Do(a.String(), func() (any, error) {
		c.mu.Lock()
		r := c.repos[a.String()]
		c.mu.Unlock()
		if r != nil {
			return r, nil
		}
		r = &repo{c: c, address: a, offline: c.hub.offline, cache: newHubCache(c.hub.cache, a.id)}
		r.err = r.open()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.repos[a.String()] = r
		return r, nil
	})
	r := found.(*repo)
	return r, r.err
}

// open finds the commit and its files, on the hub or in the cache.
func (r *repo) open() error {
	c, a := r.c, r.address
	if !r.offline {
		c.opts.Note(fmt.Sprintf("reading %s from %s", a, plainURL(c.hub.endpoint)))
		err := c.retry(a.String(), firstTries, func() (bool, error) { return false, r.list() })
		var network *networkError
		switch {
		case err == nil:
		case errors.As(err, &network) && r.cache.revision(a.revision) != "":
			c.opts.Note(fmt.Sprintf("%s cannot be reached, so %s is read from the cache as far as it is there", network.host, a))
			r.offline = true
		default:
			return err
		}
	}
	if r.offline {
		if r.commit = r.cache.revision(a.revision); r.commit == "" {
			return fmt.Errorf("%w (the hub is not asked, and nothing of it is in the cache, %s)", absent(a.String()), c.hub.cache)
		}
		r.entries = r.cache.list(r.commit)
	}
	return nil
}

var commitName = regexp.MustCompile(`^[0-9a-f]{40}$`)

// list asks the hub for the commit and its files.
func (r *repo) list() error {
	u := r.c.hub.api(r.address, "revision")
	u.RawQuery = "blobs=true"
	answer, err := r.c.http.get(r.c.ctx, u, http.Header{"Accept": {"application/json"}})
	if err != nil {
		var network *networkError
		if errors.As(err, &network) && r.cache.revision(r.address.revision) != "" {
			return network // nobody waits, since the cache is read instead
		}
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return r.refused(answer)
	}
	body := newSteady(answer.Body)
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxListing+1))
	if err != nil {
		return r.c.broken(err)
	}
	if len(data) > maxListing {
		return fmt.Errorf("the hub's list of its files is larger than %d bytes", maxListing)
	}
	return r.parse(data)
}

// parse reads what the hub says of a revision.
func (r *repo) parse(data []byte) error {
	var info struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name   string `json:"rfilename"`
			Size   *int64 `json:"size"`
			BlobID string `json:"blobId"`
			LFS    *struct {
				SHA256 string `json:"sha256"`
				Size   *int64 `json:"size"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return fmt.Errorf("the hub's list of its files: %w", err)
	}
	switch {
	case !commitName.MatchString(info.SHA):
		return fmt.Errorf("the hub says that its commit is %.60q", info.SHA)
	case len(info.Siblings) > maxFiles:
		return fmt.Errorf("the hub lists %d files, more than %d", len(info.Siblings), maxFiles)
	}
	entries := make(map[string]hubEntry, len(info.Siblings))
	for _, s := range info.Siblings {
		if !validName(s.Name) {
			return fmt.Errorf("the hub lists a file called %.200q, which leaves the folder or cannot be", s.Name)
		}
		e := hubEntry{size: -1, oid: s.BlobID}
		size := s.Size
		if s.LFS != nil {
			e.oid = s.LFS.SHA256
			if s.LFS.Size != nil {
				size = s.LFS.Size
			}
		}
		if size != nil {
			if *size < 0 {
				return fmt.Errorf("the hub lists %.200q with %d bytes", s.Name, *size)
			}
			e.size = *size
		}
		entries[s.Name] = e
	}
	r.commit, r.entries = info.SHA, entries
	return nil
}

// refused returns the error of an answer of the hub that has not what was asked for.
func (r *repo) refused(a *answer) error {
	code := a.Header.Get("X-Error-Code")
	denied := isStatus(a.Response, http.StatusUnauthorized, http.StatusForbidden)
	missing := isStatus(a.Response, http.StatusNotFound)
	err := r.c.http.refused(a.Response)
	switch {
	case code == "GatedRepo":
		return fmt.Errorf("%w: the model is gated: ask for access on its page, and have HF_TOKEN be a token of yours", err)
	case denied && r.c.http.token == "", missing && code == "RepoNotFound":
		return fmt.Errorf("%w: %w: there is no such model on the hub, or it is private and wants a token (HF_TOKEN)", err, fs.ErrNotExist)
	case denied:
		return fmt.Errorf("%w: the token has no access to it", err)
	case missing:
		return fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	return err
}

// hubFolder is a folder of a model of the hub.
type hubFolder struct {
	*repo
	below string // "." for all
}

func (f *hubFolder) Path(name string) string {
	a := f.address
	if a.file = path.Join(f.below, name); a.file == "." {
		a.file = ""
	}
	return a.String()
}

func (f *hubFolder) List(below string) ([]string, error) {
	dir := path.Join(f.below, below)
	var names []string
	for name := range f.entries {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Open implements files.Folder: what the hub's cache has whole is read from there.
func (f *hubFolder) Open(name string) (*files.File, error) {
	if !validName(name) {
		return nil, absent(f.Path("."))
	}
	where := path.Join(f.below, name)
	entry, ok := f.entries[where]
	if !ok {
		return nil, absent(f.Path(name))
	}
	if local := f.cache.find(f.commit, where, entry); local != "" {
		if f.c.opts.Keep {
			f.cache.name(f.address.revision, f.commit, where, entry.oid)
		}
		return files.OpenPinned(local, cmp.Or(entry.oid, blobOf(local)))
	}
	if f.offline {
		return nil, fmt.Errorf("%w: it is not in the cache, and the hub is not asked", absent(f.Path(name)))
	}
	o, err := f.c.object("hub "+f.address.id+"@"+f.commit+"/"+where, func() (*object, error) {
		o, err := f.c.newObject(f.Path(name), &hubFile{repo: f.repo, name: where}, entry.size, "commit "+f.commit)
		if err == nil && blobName.MatchString(entry.oid) {
			o.oid = entry.oid
		}
		if err == nil && f.c.opts.Keep {
			o.keeper, err = f.cache.newKeeper(f.c, f.address.revision, f.commit, where, entry)
		}
		return o, err
	})
	if errors.Is(err, errKept) {
		return f.Open(name)
	}
	if err != nil {
		return nil, err
	}
	return files.NewFile(f.Path(name), o), nil
}

// hubFile is a file of a model. The hub gives links for a time to where it really is.
type hubFile struct {
	*repo
	name string

	mu   sync.Mutex
	link *url.URL // nil if there is none that is still good
	etag string   // of what is there, "" while nobody knows
}

func (f *hubFile) get(ctx context.Context, from, to int64) (*part, error) {
	f.mu.Lock()
	link := f.link
	f.mu.Unlock()
	if link != nil {
		if p, err := f.follow(ctx, link, from, to); p != nil || err != nil {
			return p, err
		}
	}
	return f.resolve(ctx, from, to)
}

// follow asks at a link. It returns nothing if the hub must be asked for another.
func (f *hubFile) follow(ctx context.Context, link *url.URL, from, to int64) (*part, error) {
	a, err := f.c.http.get(ctx, link, rangeHeader(from, to))
	if err != nil {
		return nil, err
	}
	if isStatus(a.Response, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone) {
		drain(a.Body)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.link == link {
			f.link = nil
		}
		return nil, nil
	}
	return f.linked(a, from, to)
}

// linked returns the answer of a link, which must be the same file as before.
func (f *hubFile) linked(a *answer, from, to int64) (*part, error) {
	size, err := f.c.http.checked(a.Response, from, to)
	if err != nil {
		return nil, err
	}
	etag := versionOf(a.Header)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.etag == "" {
		f.etag = etag
	}
	if etag != "" && etag != f.etag {
		_ = a.Body.Close()
		return nil, fmt.Errorf("%w: it is version %.80q, it was %.80q", files.ErrChanged, etag, f.etag)
	}
	return &part{body: a.Body, size: size}, nil
}

// resolve asks the hub, which sends on to where the file is or has it itself.
func (f *hubFile) resolve(ctx context.Context, from, to int64) (*part, error) {
	names := slices.Concat(strings.Split(f.address.id, "/"), []string{"resolve", f.commit}, strings.Split(f.name, "/"))
	a, err := f.c.http.get(ctx, f.c.hub.at(names...), rangeHeader(from, to))
	if err != nil {
		return nil, err
	}
	if commit := a.first.Header.Get("X-Repo-Commit"); commit != "" && commit != f.commit {
		_ = a.Body.Close()
		return nil, fmt.Errorf("%w: the hub sends commit %.60q instead of %s", files.ErrChanged, commit, f.commit)
	}
	version := strings.Trim(strings.TrimPrefix(a.first.Header.Get("X-Linked-Etag"), "W/"), `"`)
	if !a.cross {
		if !isStatus(a.Response, http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable) {
			return nil, f.refused(a)
		}
		size, err := f.c.http.checked(a.Response, from, to)
		if err != nil {
			return nil, err
		}
		if version == "" {
			version = versionOf(a.Header)
		}
		return &part{a.Body, size, version}, nil
	}
	if isStatus(a.Response, http.StatusUnauthorized, http.StatusForbidden) { // too late already
		return nil, &passingError{err: f.c.http.refused(a.Response)}
	}
	p, err := f.linked(a, from, to)
	if err != nil {
		return nil, err
	}
	p.version = version
	f.mu.Lock()
	defer f.mu.Unlock()
	f.link = a.Request.URL
	return p, nil
}
