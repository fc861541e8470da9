package gguf

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// Fact is something on which the bytes of an output depend besides its header, such
// as the size and time of an input, or an option.
type Fact struct {
	What string `json:"what"` // "importance matrix"
	Is   string `json:"is"`   // "/models/imatrix.gguf, 1234 bytes"
}

// InputFacts returns what is known of files that are read without reading them: paths, sizes and times, or other versions.
func InputFacts(inputs []*files.File) ([]Fact, error) {
	var facts []Fact
	for _, in := range inputs {
		path := in.Name()
		if in.IsLocal() {
			var err error
			if path, err = filepath.EvalSymlinks(path); err == nil {
				path, err = filepath.Abs(path)
			}
			if err != nil {
				return nil, err
			}
		}
		facts = append(facts, Fact{What: path, Is: in.Version()})
	}
	return facts, nil
}

// journal records which chunks of a file have been written, so that a run that
// was killed can be continued. It is a text file: a line that says what is being
// written, then one line per chunk with its checksum. A line is written after
// its chunk and whether the chunk is really there is checked by the checksum,
// so the journal need not be synced.
type journal struct {
	file *os.File
	done map[chunk]uint32 // from the run that is continued; not changed later

	mu sync.Mutex
}

// chunk is a run of rows of a tensor.
type chunk struct {
	tensor   int
	first, n int64
}

// journalStart begins the first line of a journal, of any version. title follows, as JSON.
const (
	journalStart   = "ggufkit journal "
	journalVersion = "2 "
	// maxJournalLine bounds memory: a line with the facts of a thousand inputs takes
	// less than a tenth.
	maxJournalLine = 4 << 20
)

// What is added to the name of an output that is not done, and for its journal.
const (
	partialSuffix = ".partial"
	journalSuffix = partialSuffix + ".journal"
)

// title says what is being written.
type title struct {
	// HeaderBytes and HeaderSHA256 are of the header of the file.
	HeaderBytes  int64  `json:"header_bytes"`
	HeaderSHA256 string `json:"header_sha256"`
	Job          []Fact `json:"job"`
}

func newTitle(head []byte, job []Fact) title {
	sum := sha256.Sum256(head)
	return title{int64(len(head)), hex.EncodeToString(sum[:]), job}
}

// other says in what the work of an earlier run, with title t, differs from that of
// now; it is empty if it is the same.
func (t title) other(now title) string {
	if changed := Changed(t.Job, now.Job); changed != "" {
		return changed
	}
	if t.HeaderBytes != now.HeaderBytes || t.HeaderSHA256 != now.HeaderSHA256 {
		return "its metadata or the types of its tensors are others"
	}
	return ""
}

// Changed says in what facts of an earlier run differ from those of now; it is empty if they are
// the same.
func Changed(before, now []Fact) string {
	for i, fact := range now {
		switch {
		case i >= len(before) || before[i].What != fact.What:
			return fmt.Sprintf("it was made without: %s %s", fact.What, fact.Is)
		case before[i].Is != fact.Is:
			return fmt.Sprintf("%s: it was %s, now it is %s", fact.What, before[i].Is, fact.Is)
		}
	}
	if len(before) > len(now) {
		more := before[len(now)]
		return fmt.Sprintf("it was made with: %s %s", more.What, more.Is)
	}
	return ""
}

// wrote reports whether a file has the header that t tells of, or is empty. Nothing
// else is a file of ours.
func (t title) wrote(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	if info.Size() == 0 {
		return true, nil
	}
	if t.HeaderBytes < 0 || t.HeaderBytes > info.Size() {
		return false, nil
	}
	sum := sha256.New()
	_, err = io.Copy(sum, io.NewSectionReader(f, 0, t.HeaderBytes))
	return hex.EncodeToString(sum.Sum(nil)) == t.HeaderSHA256, err
}

// openPartial opens OUT.partial and its journal for a part of the output. With
// WriteOptions.Resume, what an earlier run recorded for the same work is kept;
// otherwise, or if the work was another, both start empty. Files of these names that no
// run has left are not touched, but refused. The error wraps files.ErrLocked if another
// process is at the same work.
func openPartial(head []byte, p *part, opts WriteOptions) (_ *output, err error) {
	path := p.target.Path + partialSuffix
	file, err := openLocked(p.target.Path+journalSuffix, true)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	before, chunks, end, err := readJournal(file, file.Name(), p.has)
	isNew := err == nil && before == nil
	defer func() {
		if err != nil && isNew {
			err = errors.Join(err, os.Remove(file.Name()))
		}
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if err != nil {
		return nil, err
	}
	now := newTitle(head, opts.Job)
	reason := ""
	switch {
	case before == nil:
		before, reason = &title{}, "no run has left "+path
	case !opts.Resume:
		reason = "it was not asked for"
	default:
		reason = before.other(now)
	}
	f, err := files.OpenNamed(path, false, 0)
	there := err == nil
	ours := false
	if there {
		ours, err = before.wrote(f)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		reason = cmp.Or(reason, path+" is gone")
	case err != nil && !there:
		return nil, errors.Join(notOurs(path), err)
	case err != nil:
		return nil, errors.Join(err, f.Close())
	case !ours:
		return nil, errors.Join(notOurs(path), f.Close())
	case reason == "":
		j.done = chunks
		if err := j.startAt(end); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return &output{p.target.Output(f), j, p.direct}, nil
	default:
		if err := errors.Join(f.Close(), os.Remove(path)); err != nil {
			return nil, err
		}
	}
	if opts.Resume && opts.Restart != nil {
		opts.Restart(reason)
	}
	if err := j.start(now); err != nil {
		return nil, err
	}
	isNew = true
	if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, p.target.Mode()); err != nil {
		return nil, err
	}
	return &output{p.target.Output(f), j, p.direct}, nil
}

// Unfinished returns how many bytes of a file at path a run of WriteOptions.Job has left that was killed, or interrupted: the
// room that it has on the disk already. It is 0 if there is nothing.
func Unfinished(path string) int64 {
	info, err := os.Lstat(path + partialSuffix)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	if _, err := os.Lstat(path + journalSuffix); err != nil {
		return 0
	}
	return info.Size()
}

// Tidy removes the journal of a file at path that a run has left which was killed when the file had
// just got its name. Files of others are not touched.
func Tidy(path string) (err error) {
	if _, err := os.Lstat(path + partialSuffix); err == nil {
		return nil
	}
	j, err := openLocked(path+journalSuffix, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if !startsWith(j, journalStart) {
		return nil
	}
	return os.Remove(j.Name())
}

// openLocked opens a file, as files.OpenNamed does, for this process alone.
func openLocked(path string, create bool) (*os.File, error) {
	file, err := files.OpenNamed(path, create, 0o666)
	if err != nil {
		return nil, err
	}
	if err := files.Lock(file); errors.Is(err, files.ErrLocked) {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return file, nil
}

// startsWith reports whether start is what can be read of r first.
func startsWith(r io.Reader, start string) bool {
	got := make([]byte, len(start))
	_, err := io.ReadFull(r, got)
	return err == nil && string(got) == start
}

func notOurs(path string) error {
	return &fs.PathError{Op: "write", Path: path, Err: errNotOurs}
}

var errNotOurs = errors.New("it is there, no run has left it, and it has the name that unfinished work gets: move it away")

// readJournal reads a journal: what the work was, nil if the file is empty, the chunks
// that are among those of the work, and where the last whole line ends. What is no journal
// is an error.
func readJournal(from io.Reader, name string, possible func(chunk) bool) (was *title, done map[chunk]uint32, end int64, err error) {
	r := bufio.NewReaderSize(from, maxJournalLine)
	line, err := r.ReadSlice('\n')
	if len(line) == 0 && errors.Is(err, io.EOF) {
		return nil, nil, 0, nil
	}
	text, ours := bytes.CutPrefix(line, []byte(journalStart))
	if !ours && err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, nil, 0, err
	}
	if !ours {
		return nil, nil, 0, notOurs(name)
	}
	was, done = &title{Job: []Fact{{"version", "another"}}}, make(map[chunk]uint32)
	text, ours = bytes.CutPrefix(text, []byte(journalVersion))
	if err != nil || !ours || json.Unmarshal(text, was) != nil {
		return was, nil, 0, nil
	}
	for end = int64(len(line)); ; end += int64(len(line)) {
		if line, err = r.ReadSlice('\n'); err != nil { // what follows the last newline was cut off
			return was, done, end, nil
		}
		var c chunk
		var sum uint32
		if _, err := fmt.Sscanf(string(line), "%d %d %d %x\n", &c.tensor, &c.first, &c.n, &sum); err != nil {
			return was, done, end, nil
		}
		if possible(c) {
			done[c] = sum
		}
	}
}

// start empties the journal and writes its title.
func (j *journal) start(t title) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := j.startAt(0); err != nil {
		return err
	}
	_, err = fmt.Fprintf(j.file, "%s%s%s\n", journalStart, journalVersion, text)
	return err
}

// startAt drops what follows the first end bytes and goes on from there.
func (j *journal) startAt(end int64) error {
	if err := j.file.Truncate(end); err != nil {
		return err
	}
	_, err := j.file.Seek(end, io.SeekStart)
	return err
}

// has reports whether an earlier run wrote the chunk and data, which is what
// the file has in its place, is that.
func (j *journal) has(c chunk, data []byte) bool {
	sum, ok := j.done[c]
	return ok && sum == checksum(data)
}

// record says that the chunk has been written.
func (j *journal) record(c chunk, data []byte) error {
	line := fmt.Sprintf("%d %d %d %08x\n", c.tensor, c.first, c.n, checksum(data))
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := j.file.WriteString(line)
	return err
}

func (j *journal) remove() error {
	return errors.Join(os.Remove(j.file.Name()), j.file.Close())
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }
