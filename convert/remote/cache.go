package remote

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// hubCache is where the hub's tools keep a model: blobs/ has what files are, called by their
// hashes, snapshots/COMMIT/ their names, as links to these, and refs/ which commits revisions
// are. All methods can be used without one, too, and find nothing then.
type hubCache struct{ dir string }

// newHubCache returns the cache of a model in that of all, "" if there is none.
func newHubCache(root, id string) *hubCache {
	if root == "" {
		return nil
	}
	return &hubCache{filepath.Join(root, "models--"+strings.ReplaceAll(id, "/", "--"))}
}

func (h *hubCache) snapshot(commit string) string { return filepath.Join(h.dir, "snapshots", commit) }
func (h *hubCache) blob(oid string) string        { return filepath.Join(h.dir, "blobs", oid) }

// revision returns the commit that a revision was when it was kept, "" if it was not.
func (h *hubCache) revision(name string) string {
	if h == nil {
		return ""
	}
	commit := name
	if !commitName.MatchString(commit) {
		f, err := files.Open(filepath.Join(h.dir, "refs", filepath.FromSlash(name)))
		if err != nil {
			return ""
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, 100))
		if commit = strings.TrimSpace(string(data)); err != nil || !commitName.MatchString(commit) {
			return ""
		}
	}
	if info, err := os.Stat(h.snapshot(commit)); err != nil || !info.IsDir() {
		return ""
	}
	return commit
}

// list returns the files of a commit that are there.
func (h *hubCache) list(commit string) map[string]hubEntry {
	entries := make(map[string]hubEntry)
	root := h.snapshot(commit)
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(entries) == maxFiles {
			return nil //nolint:nilerr // what cannot be read is not there
		}
		name, err := filepath.Rel(root, path)
		if info, errStat := os.Stat(path); err == nil && errStat == nil && info.Mode().IsRegular() && validName(filepath.ToSlash(name)) {
			entries[filepath.ToSlash(name)] = hubEntry{size: info.Size()}
		}
		return nil
	})
	return entries
}

var blobName = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// find returns the path of a file of a commit, "" if it is not there.
func (h *hubCache) find(commit, name string, entry hubEntry) string {
	if h == nil {
		return ""
	}
	paths := []string{filepath.Join(h.snapshot(commit), filepath.FromSlash(name))}
	if blobName.MatchString(entry.oid) {
		paths = append(paths, h.blob(entry.oid))
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && (entry.size < 0 || info.Size() == entry.size) {
			return path
		}
	}
	return ""
}

// blobOf returns the hash of a file in a snapshot: the name of what it is a link to. It is "" if it is no link.
func blobOf(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil && blobName.MatchString(filepath.Base(to)) {
		return filepath.Base(to)
	}
	return ""
}

// name gives a blob the name that it has in a commit, and the commit that of its revision. What
// cannot be done is left: the blob is found nevertheless.
func (h *hubCache) name(revision, commit, name, oid string) {
	write := func(path string, create func() error) {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err == nil {
			_ = create()
		}
	}
	if !commitName.MatchString(revision) {
		ref := filepath.Join(h.dir, "refs", filepath.FromSlash(revision))
		write(ref, func() error { return files.Write(ref, []byte(commit), true) })
	}
	path := filepath.Join(h.snapshot(commit), filepath.FromSlash(name))
	if _, err := os.Lstat(path); err == nil || !blobName.MatchString(oid) {
		return
	}
	if _, err := os.Stat(h.blob(oid)); err != nil {
		return
	}
	write(path, func() error {
		to, err := filepath.Rel(filepath.Dir(path), h.blob(oid))
		if err == nil {
			err = os.Symlink(to, path)
		}
		if err != nil { // some systems have no symbolic links for everybody
			err = os.Link(h.blob(oid), path)
		}
		return err
	})
}

// keeper keeps the pages of a file as they come, beside blobs that are whole, and makes a blob of
// them when all have come.
type keeper struct {
	cache                  *hubCache
	note                   func(string)
	revision, commit, name string
	oid                    string
	size                   int64

	mu      sync.Mutex
	file    *os.File // nil when it is a blob, or cannot be kept
	have    []byte   // a bit for each page
	missing int64    // pages
	err     error    // of what came not being what it should be
}

// completedPart is of how much of a file the rest is read, too, when it is closed: what little no
// command reads, so that the file can be kept whole.
const completedPart = 4

// newKeeper returns one for a file, nil if it cannot be kept.
func (h *hubCache) newKeeper(c *Client, revision, commit, name string, entry hubEntry) *keeper {
	if h == nil || !blobName.MatchString(entry.oid) || entry.size <= 0 {
		return nil
	}
	k := &keeper{cache: h, note: c.opts.Note, revision: revision, commit: commit, name: name, oid: entry.oid, size: entry.size}
	if err := k.open(); err != nil {
		c.opts.Note(fmt.Sprintf("%s is not kept in the cache: %v", name, err))
		return nil
	}
	return k
}

func (k *keeper) partial() string { return k.cache.blob(k.oid) + ".ggufkit" }
func (k *keeper) parts() string   { return k.cache.blob(k.oid) + ".ggufkit-parts" }

// open opens what an earlier run has kept, or begins.
func (k *keeper) open() error {
	if err := os.MkdirAll(filepath.Dir(k.partial()), 0o777); err != nil {
		return err
	}
	f, err := files.OpenNamed(k.partial(), true, 0o666)
	if err != nil {
		return err
	}
	if err := files.Lock(f); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return errors.Join(err, f.Close())
	}
	pages := pagesOf(k.size)
	k.have, k.missing = make([]byte, (pages+7)/8), pages
	info, err := f.Stat()
	if err == nil && info.Size() == k.size {
		k.readParts(pages)
	} else if err == nil {
		err = f.Truncate(k.size)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	k.file = f
	return nil
}

func (k *keeper) readParts(pages int64) {
	f, err := files.Open(k.parts())
	if err != nil {
		return
	}
	defer f.Close()
	have := make([]byte, len(k.have))
	if f.Size() != int64(len(have)) {
		return
	}
	if _, err := io.ReadFull(f, have); err != nil {
		return
	}
	k.have, k.missing = have, 0
	for no := range pages {
		if !k.hasLocked(no) {
			k.missing++
		}
	}
}

// has reports whether a page was kept.
func (k *keeper) has(no int64) bool {
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.file != nil && k.hasLocked(no)
}

func (k *keeper) hasLocked(no int64) bool { return k.have[no/8]&(1<<(no%8)) != 0 }

// load makes pages ready that were kept, and returns those that cannot be read.
func (k *keeper) load(run []*page) []*page {
	for len(run) > 0 {
		pg := run[0]
		data := make([]byte, min(pageBytes, k.size-pg.no*pageBytes))
		k.mu.Lock()
		file := k.file
		k.mu.Unlock()
		if file == nil {
			break
		}
		if _, err := file.ReadAt(data, pg.no*pageBytes); err != nil {
			break
		}
		pg.finish(data, nil)
		run = run[1:]
	}
	return run
}

// keep keeps a page.
func (k *keeper) keep(no int64, data []byte) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil || k.hasLocked(no) {
		return
	}
	if _, err := k.file.WriteAt(data, no*pageBytes); err != nil {
		k.note(fmt.Sprintf("%s is no longer kept in the cache: %v", k.name, err))
		k.end(true)
		return
	}
	k.have[no/8] |= 1 << (no % 8)
	k.missing--
}

// end closes the file, and removes it or leaves it for another run. k.mu is held.
func (k *keeper) end(remove bool) {
	if remove {
		_ = os.Remove(k.partial())
		_ = os.Remove(k.parts())
	}
	_ = k.file.Close()
	k.file = nil
}

// save keeps what was read for good: as a blob if it is all there, which it is made if little is
// missing.
func (k *keeper) save(o *object) error {
	if k == nil {
		return nil
	}
	if missing := k.isMissing(); missing > 0 && missing <= (k.size/pageBytes)/completedPart && o.c.ctx.Err() == nil {
		buf := make([]byte, pageBytes)
		for no := range pagesOf(k.size) {
			if k.has(no) {
				continue
			}
			o.Prefetch(no*pageBytes, pageBytes)
			if _, err := o.ReadAt(buf[:min(pageBytes, k.size-no*pageBytes)], no*pageBytes); err != nil {
				break // it stays a part
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		return k.err
	}
	if k.missing > 0 {
		err := k.file.Sync() // before anything says that it is there
		if err == nil {
			err = files.Write(k.parts(), k.have, true)
		}
		if err != nil {
			k.note(fmt.Sprintf("what was read of %s is not kept in the cache: %v", k.name, err))
		}
		return nil
	}
	switch sum, err := k.sum(); {
	case err != nil:
		k.note(fmt.Sprintf("%s is not kept in the cache: %v", k.name, err))
		k.end(true)
		return nil
	case sum != k.oid:
		k.err = fmt.Errorf("%s: %w: what was read has the hash %s, the hub's is %s", o.name, files.ErrChanged, sum, k.oid)
		k.end(true)
		return k.err
	}
	err := k.file.Sync()
	k.end(false)
	if err == nil {
		err = os.Rename(k.partial(), k.cache.blob(k.oid))
	}
	if err != nil {
		k.note(fmt.Sprintf("%s is not kept in the cache: %v", k.name, err))
		return nil
	}
	_ = os.Remove(k.parts())
	k.cache.name(k.revision, k.commit, k.name, k.oid)
	return nil
}

func (k *keeper) isMissing() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		return 0
	}
	return k.missing
}

// sum returns the hash that the hub has for such a file: SHA-256 of large ones, Git's of others.
func (k *keeper) sum() (string, error) {
	var h hash.Hash
	if len(k.oid) == sha256.Size*2 {
		h = sha256.New()
	} else {
		h = sha1.New()
		fmt.Fprintf(h, "blob %d\x00", k.size)
	}
	if _, err := io.Copy(h, io.NewSectionReader(k.file, 0, k.size)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
