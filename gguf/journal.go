package gguf

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"
)

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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

// openJournal opens the journal at path for the work that title describes in one line. With
// resume, what an earlier run recorded for the same work is kept; otherwise, or
// if the work was another, the journal starts empty. It is an error if another
// process has the journal open.
func openJournal(path, title string, resume bool) (_ *journal, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := lock(f); err != nil {
		return nil, fmt.Errorf("%s is in use by another process: %w", path, err)
	}
	j := &journal{file: f, done: make(map[chunk]uint32)}
	end := int64(0)
	if resume {
		if end, err = j.load(title); err != nil {
			return nil, err
		}
	}
	if err := f.Truncate(end); err != nil {
		return nil, err
	}
	if _, err := f.Seek(end, io.SeekStart); err != nil {
		return nil, err
	}
	if end == 0 {
		_, err = fmt.Fprintln(f, title)
	}
	return j, err
}

// load reads the chunks of an earlier run and returns where its last whole line
// ends, 0 if it was about other work.
func (j *journal) load(title string) (end int64, err error) {
	r := bufio.NewReader(j.file)
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return end, nil // what follows the last newline was cut off
		}
		if err != nil {
			return 0, err
		}
		text := strings.TrimSuffix(line, "\n")
		if end == 0 {
			if text != title {
				return 0, nil
			}
		} else {
			var c chunk
			var sum uint32
			if _, err := fmt.Sscanf(text, "%d %d %d %x", &c.tensor, &c.first, &c.n, &sum); err != nil {
				return end, nil
			}
			j.done[c] = sum
		}
		end += int64(len(line))
	}
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
