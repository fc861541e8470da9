package remote

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

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
// them when all have come. Processes share what they keep: one fetches a page, the others wait for it.
type keeper struct {
	cache                  *hubCache
	note                   func(string)
	revision, commit, name string
	oid                    string
	size                   int64

	mu sync.Mutex
	// file has the pages, and parts the checksum of each, 0 for those that are not there. They are nil when the file is a blob, or
	// cannot be kept. A page counts if it has its checksum: what was written before a crash may not be there.
	file, parts *os.File
	sums        []uint32 // as far as they are known
	missing     int64    // pages
	err         error    // of what came not being what it should be
}

// completedPart is of how much of a file the rest is read, too, when it is closed: what little no
// command reads, so that the file can be kept whole.
const completedPart = 4

// errKept means that meanwhile another process has made a blob of a file.
var errKept = errors.New("it is kept already")

// newKeeper returns one for a file, nil if it cannot be kept. The only error is errKept.
func (h *hubCache) newKeeper(c *Client, revision, commit, name string, entry hubEntry) (*keeper, error) {
	if h == nil || !blobName.MatchString(entry.oid) || entry.size <= 0 {
		return nil, nil
	}
	k := &keeper{cache: h, note: c.opts.Note, revision: revision, commit: commit, name: name, oid: entry.oid, size: entry.size}
	err := k.open()
	if errors.Is(err, errKept) {
		return nil, err
	}
	if err != nil {
		c.opts.Note(fmt.Sprintf("%s is not kept in the cache: %v", name, err))
		return nil, nil
	}
	return k, nil
}

func (k *keeper) partial() string   { return k.cache.blob(k.oid) + ".ggufkit" }
func (k *keeper) partsPath() string { return k.cache.blob(k.oid) + ".ggufkit-parts" }

// open opens what others have kept, or keep, or begins.
func (k *keeper) open() (err error) {
	if err := os.MkdirAll(filepath.Dir(k.partial()), 0o777); err != nil {
		return err
	}
	defer func() {
		if err != nil && k.file != nil {
			k.end(errors.Is(err, errKept))
		}
	}()
	if k.parts, err = files.OpenNamed(k.partsPath(), true, 0o666); err != nil {
		return err
	}
	if k.file, err = files.OpenNamed(k.partial(), true, 0o666); err != nil {
		return errors.Join(err, k.parts.Close())
	}
	if info, err := os.Stat(k.cache.blob(k.oid)); err == nil && info.Size() == k.size {
		return errKept
	}
	pages := pagesOf(k.size)
	for file, size := range map[*os.File]int64{k.file: k.size, k.parts: pages * sumBytes} {
		info, err := file.Stat()
		if err == nil && info.Size() != size {
			err = file.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
	k.sums, k.missing = make([]uint32, pages), pages
	return k.refresh(0, pages)
}

// sumBytes is how large a checksum is.
const sumBytes = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf returns the checksum of a page, which is not 0.
func sumOf(data []byte) uint32 { return max(1, crc32.Checksum(data, castagnoli)) }

// refresh looks at which of n pages others have kept meanwhile.
func (k *keeper) refresh(first, n int64) error {
	b := make([]byte, n*sumBytes)
	if _, err := k.parts.ReadAt(b, first*sumBytes); err != nil {
		return err
	}
	for i := range n {
		k.set(first+i, binary.LittleEndian.Uint32(b[i*sumBytes:]))
	}
	return nil
}

// set says which checksum a page has.
func (k *keeper) set(no int64, sum uint32) {
	if k.sums[no] == 0 && sum != 0 {
		k.missing--
	} else if k.sums[no] != 0 && sum == 0 {
		k.missing++
	}
	k.sums[no] = sum
}

// has reports whether a page was kept.
func (k *keeper) has(no int64) bool {
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.file != nil && k.sums[no] != 0
}

// load makes pages ready that were kept, and returns those from the first on that was not.
func (k *keeper) load(run []*page) []*page {
	for len(run) > 0 && k.has(run[0].no) {
		pg := run[0]
		data := make([]byte, min(pageBytes, k.size-pg.no*pageBytes))
		k.mu.Lock()
		ok := k.file != nil
		if ok {
			_, err := k.file.ReadAt(data, pg.no*pageBytes)
			if ok = err == nil && sumOf(data) == k.sums[pg.no]; !ok {
				k.set(pg.no, 0)
			}
		}
		k.mu.Unlock()
		if !ok {
			break
		}
		pg.finish(data, nil)
		run = run[1:]
	}
	return run
}

// claim waits until no other process fetches one of some pages, and has others wait until release is called. Then it is known which
// of them were kept.
func (k *keeper) claim(ctx context.Context, run []*page) (release func(), err error) {
	release = func() {}
	if k == nil {
		return release, nil
	}
	first, n := run[0].no, int64(len(run))
	for wait := time.Millisecond; ; wait = min(2*wait, claimPause) {
		k.mu.Lock()
		parts := k.parts
		if parts != nil {
			err = files.LockRange(parts, first, n)
		}
		k.mu.Unlock()
		if parts == nil || !errors.Is(err, files.ErrLocked) {
			break
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return release, ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.parts == nil {
		return release, nil
	}
	if err == nil { // else there are no locks, and two may fetch the same
		release = func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.parts != nil {
				_ = files.UnlockRange(k.parts, first, n)
			}
		}
	}
	if err := k.refresh(first, n); err != nil {
		k.note(fmt.Sprintf("%s is no longer kept in the cache: %v", k.name, err))
		k.end(false)
	}
	return release, nil
}

// claimPause is the longest pause before a claim is tried again.
const claimPause = 50 * time.Millisecond

// keep keeps a page.
func (k *keeper) keep(no int64, data []byte) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil || k.sums[no] != 0 {
		return
	}
	sum := sumOf(data)
	_, err := k.file.WriteAt(data, no*pageBytes)
	if err == nil { // in this order
		_, err = k.parts.WriteAt(binary.LittleEndian.AppendUint32(nil, sum), no*sumBytes)
	}
	if err != nil {
		k.note(fmt.Sprintf("%s is no longer kept in the cache: %v", k.name, err))
		k.end(false)
		return
	}
	k.set(no, sum)
}

// end closes the files, and removes them or leaves them for others. k.mu is held.
func (k *keeper) end(remove bool) {
	if remove {
		_ = os.Remove(k.partial())
		_ = os.Remove(k.partsPath())
	}
	_ = k.file.Close()
	_ = k.parts.Close()
	k.file, k.parts = nil, nil
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
		if err := errors.Join(k.file.Sync(), k.parts.Sync()); err != nil {
			k.note(fmt.Sprintf("what was read of %s is not kept in the cache: %v", k.name, err))
		}
		return nil
	}
	// Of several processes that have seen the last page, one makes it a blob.
	if err := files.LockRange(k.parts, pagesOf(k.size), 1); errors.Is(err, files.ErrLocked) || !files.HasName(k.file) {
		k.end(false)
		k.cache.name(k.revision, k.commit, k.name, k.oid)
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
	err := errors.Join(k.file.Sync(), k.file.Close()) // some systems rename no open files
	if err == nil {
		err = os.Rename(k.partial(), k.cache.blob(k.oid))
	}
	_ = k.parts.Close() // with the lock
	k.file, k.parts = nil, nil
	if err != nil {
		k.note(fmt.Sprintf("%s is not kept in the cache: %v", k.name, err))
		return nil
	}
	_ = os.Remove(k.partsPath())
	k.cache.name(k.revision, k.commit, k.name, k.oid)
	return nil
}

// isMissing returns how many pages nobody has kept.
func (k *keeper) isMissing() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		return 0
	}
	if err := k.refresh(0, int64(len(k.sums))); err != nil {
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
