package gguf

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// WithMetadata returns the file with other metadata, to be written.
func (f *File) WithMetadata(meta *Metadata) Source { return &revised{f, meta, f.tensors} }

// A Patch puts new metadata in the place of those of a file, in the file itself. No moment
// of it leaves a file that is half of the one and half of the other, even if the process is
// killed or the machine stops: what changes a sector of the disk is written at once, and
// what is more is first put down beside the file, as PATH.edit. As long as that is there,
// opening the file fails with ErrInterrupted, and Finish brings the change to its end.
type Patch struct {
	path   string // without links
	target fs.FileInfo
	title  patchTitle
	data   []byte
}

// patchTitle is the second line of PATH.edit. What is written follows.
type patchTitle struct {
	Size         int64  `json:"size"`         // of the file
	Header       int64  `json:"header_bytes"` // with its padding
	HeaderSHA256 string `json:"header_sha256"`
	Offset       int64  `json:"offset"` // of what is written
	Bytes        int64  `json:"bytes"`
}

const (
	patchStart  = "ggufkit edit 1\n"
	patchSuffix = ".edit"
	// sector is what disks write whole or not at all.
	sector = 512
)

// Patch returns what puts meta in the place of the file's metadata, nil if they do not fit: if the
// tensors would have to move, if the file has other names, which are to keep what they have,
// and if it is a set, big-endian, not on a disk or without tensors.
func (f *File) Patch(meta *Metadata) (*Patch, error) {
	sh := f.shards[0]
	if len(f.shards) > 1 || sh.file == nil || !sh.file.IsLocal() || sh.head.order == binary.BigEndian || len(f.tensors) == 0 {
		return nil, nil
	}
	info := sh.file.Input()[0].Info
	if files.Links(info) > 1 {
		return nil, nil
	}
	head, offsets, err := encodeHeader(meta, f.tensors)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(offsets[:len(f.tensors)], sh.head.offsets) {
		return nil, nil
	}
	binary.LittleEndian.PutUint32(head[4:], sh.head.version)
	head = padTo(head, sh.head.data)
	old := make([]byte, len(head))
	if _, err := sh.r.ReadAt(old, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", sh.path, err)
	}
	path, err := filepath.EvalSymlinks(sh.path)
	if err != nil {
		return nil, err
	}
	first, last := 0, len(head)
	for first < last && head[first] == old[first] {
		first++
	}
	for last > first && head[last-1] == old[last-1] {
		last--
	}
	sum := sha256.Sum256(head)
	return &Patch{
		path:   path,
		target: info,
		title:  patchTitle{sh.size, sh.head.data, hex.EncodeToString(sum[:]), int64(first), int64(last - first)},
		data:   head[first:last],
	}, nil
}

// Bytes returns how many bytes of the file change, from the first to the last.
func (p *Patch) Bytes() int64 { return p.title.Bytes }

// Apply writes the patch. The error wraps files.ErrChanged if the file is another than the one
// it was made for, files.ErrLocked if another process patches it, and fs.ErrPermission if it
// cannot be written.
func (p *Patch) Apply() (err error) {
	file, err := openLocked(p.path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	now, err := file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(now, p.target) || now.Size() != p.target.Size() || !now.ModTime().Equal(p.target.ModTime()) {
		return fmt.Errorf("%s: %w", p.path, files.ErrChanged)
	}
	return p.apply(file)
}

// patchFile is what of a file is needed to patch it.
type patchFile interface {
	io.WriterAt
	Sync() error
}

func (p *Patch) apply(file patchFile) error {
	if len(p.data) == 0 {
		return nil
	}
	if p.title.Offset/sector == (p.title.Offset+p.title.Bytes-1)/sector {
		return p.write(file)
	}
	title, err := json.Marshal(p.title)
	if err != nil {
		return err
	}
	if err := files.Write(p.path+patchSuffix, slices.Concat([]byte(patchStart), title, []byte("\n"), p.data), false); err != nil {
		return err
	}
	return p.end(file)
}

// write writes what changes, at once.
func (p *Patch) write(file patchFile) error {
	if _, err := file.WriteAt(p.data, p.title.Offset); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	return nil
}

// end does what PATH.edit says, and removes that.
func (p *Patch) end(file patchFile) error {
	if err := p.write(file); err != nil {
		return err
	}
	if err := os.Remove(p.path + patchSuffix); err != nil {
		return err
	}
	return files.SyncDir(filepath.Dir(p.path))
}

// interrupted reports whether a change of an open file is under way, or was interrupted.
func interrupted(file *files.File) bool {
	if !file.IsLocal() {
		return false
	}
	path, err := filepath.EvalSymlinks(file.Name())
	if err != nil {
		return false
	}
	record, err := openRecord(path)
	if err != nil {
		return false
	}
	defer record.Close()
	return startsWith(record, patchStart)
}

// openRecord opens PATH.edit.
func openRecord(path string) (*files.File, error) {
	info, err := os.Lstat(path + patchSuffix)
	if err == nil && !info.Mode().IsRegular() {
		err = files.ErrNotRegular
	}
	if err != nil {
		return nil, err
	}
	return files.Open(path + patchSuffix)
}

// Finish brings to its end what an Apply of the file at path has begun, and reports whether
// there was anything. The error wraps ErrCorrupt if PATH.edit is not of this file.
func Finish(path string) (done bool, err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return false, err
	}
	record, err := openRecord(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, files.ErrNotRegular) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer record.Close()
	p := &Patch{path: path}
	if found, err := p.read(record); err != nil || !found {
		return false, err
	}
	file, err := openLocked(path, false)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := p.fits(file); err != nil {
		return false, err
	}
	return true, p.end(file)
}

// read reads PATH.edit. What does not begin as one is none.
func (p *Patch) read(record *files.File) (found bool, err error) {
	if record.Size() > maxHeader+maxJournalLine {
		return false, nil
	}
	content, err := io.ReadAll(io.NewSectionReader(record, 0, record.Size()))
	if err != nil {
		return false, err
	}
	rest, ok := bytes.CutPrefix(content, []byte(patchStart))
	if !ok {
		return false, nil
	}
	line, data, ok := bytes.Cut(rest, []byte("\n"))
	if !ok || json.Unmarshal(line, &p.title) != nil || int64(len(data)) != p.title.Bytes {
		return false, fmt.Errorf("%w: %s: not what a change of metadata leaves", ErrCorrupt, record.Name())
	}
	p.data = data
	return true, nil
}

// fits returns an error unless the patch makes the header of the file what it was to become,
// whatever of it has been written.
func (p *Patch) fits(file *os.File) error {
	other := fmt.Errorf("%w: %s is of another file than %s: if that is whole, remove it", ErrCorrupt, p.path+patchSuffix, p.path)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	t := p.title
	if t.Size != info.Size() || t.Header < 0 || t.Header > min(t.Size, maxHeader) || t.Offset < 0 || t.Offset > t.Header-t.Bytes {
		return other
	}
	head := make([]byte, t.Header)
	if _, err := file.ReadAt(head, 0); err != nil {
		return err
	}
	copy(head[t.Offset:], p.data)
	if sum := sha256.Sum256(head); hex.EncodeToString(sum[:]) != t.HeaderSHA256 {
		return other
	}
	return nil
}
