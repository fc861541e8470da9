package verify

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// Sums are SHA-256 sums that were published of files, in hexadecimal.
type Sums struct {
	path   string
	files  map[string]string // by the last element of the path
	models []hashed
}

// hashed is what 'ggufkit hash --json' says of a model.
type hashed struct {
	File    string `json:"file"`
	Whole   string `json:"file_sha256"`
	Data    string `json:"data_sha256"`
	Tensors []struct {
		Name   string `json:"name"`
		SHA256 string `json:"sha256"`
	} `json:"tensors"`
}

// maxSums is far above what sums take.
const maxSums = 256 << 20

// sumLine is a line of sha256sum, with a name that is escaped if it starts with a backslash.
var sumLine = regexp.MustCompile(`^(\\?)([0-9a-fA-F]{64}) [ *](.+)$`)

// ReadSums reads the lines of sha256sum, such as SHA256SUMS has, or what 'ggufkit hash --json' prints.
func ReadSums(path string) (*Sums, error) {
	file, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSums+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSums {
		return nil, fmt.Errorf("%s: %w: more than %d bytes are no sums", path, gguf.ErrUnsupported, maxSums)
	}
	s, err := ParseSums(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.path = path
	return s, nil
}

// ParseSums reads what ReadSums does.
func ParseSums(data []byte) (*Sums, error) {
	s := &Sums{files: make(map[string]string)}
	switch start := bytes.TrimLeft(data, " \t\r\n"); {
	case bytes.HasPrefix(start, []byte("[")):
		if err := json.Unmarshal(start, &s.models); err != nil {
			return nil, fmt.Errorf("%w: not what 'ggufkit hash --json' prints: %w", gguf.ErrCorrupt, err)
		}
	case bytes.HasPrefix(start, []byte("{")):
		s.models = make([]hashed, 1)
		if err := json.Unmarshal(start, &s.models[0]); err != nil {
			return nil, fmt.Errorf("%w: not what 'ggufkit hash --json' prints: %w", gguf.ErrCorrupt, err)
		}
	default:
		lines := bufio.NewScanner(bytes.NewReader(data))
		for number := 1; lines.Scan(); number++ {
			line := strings.TrimSuffix(lines.Text(), "\r")
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			m := sumLine.FindStringSubmatch(line)
			if m == nil {
				return nil, fmt.Errorf("%w: line %d is not a sum and a name", gguf.ErrCorrupt, number)
			}
			name := m[3]
			if m[1] != "" {
				name = strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(name)
			}
			name = base(name)
			if other, ok := s.files[name]; ok && !strings.EqualFold(other, m[2]) {
				return nil, fmt.Errorf("%w: line %d: there are two sums of %q", gguf.ErrCorrupt, number, name)
			}
			s.files[name] = strings.ToLower(m[2])
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", gguf.ErrCorrupt, err)
		}
	}
	if len(s.files) == 0 && len(s.models) == 0 {
		return nil, fmt.Errorf("%w: there is no sum", gguf.ErrCorrupt)
	}
	return s, nil
}

// base returns the last element of a path of any system.
func base(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }

// model returns the sums of a model: those of its name, or the only ones.
func (s *Sums) model(path string) (hashed, bool) {
	for _, m := range s.models {
		if base(m.File) == filepath.Base(path) {
			return m, true
		}
	}
	if len(s.models) == 1 {
		return s.models[0], true
	}
	return hashed{}, false
}

// sums holds a file against the sums that were published.
func (r *Report) sums(ctx context.Context, file *gguf.File, opts Options) error {
	s := opts.Sums
	if s == nil {
		return nil
	}
	r.Checked = append(r.Checked, Hash)
	_, end := opts.Progress("hashing")
	defer end()
	model, ok := s.model(r.File)
	if s.models != nil && !ok {
		r.find(Hash, r.File, "", -1, "%s has no sums of it", s.path)
		return nil
	}
	for i, path := range file.Paths() {
		want := s.files[filepath.Base(path)]
		switch {
		case s.models != nil && (model.Whole == "" || len(file.Paths()) > 1):
			continue
		case s.models != nil:
			want = model.Whole
		case want == "":
			r.find(Hash, path, "", -1, "%s has no sum of it", s.path)
			continue
		}
		got, err := files.SHA256(ctx, file.Inputs()[i])
		if err != nil {
			return err
		}
		switch same := strings.EqualFold(got, want); {
		case !same:
			r.find(Hash, path, "", -1, "its SHA-256 is %s, %s says %s", got, s.path, want)
		case s.models != nil:
			return nil // nothing in it can be another then
		}
	}
	if s.models == nil {
		return nil
	}
	return r.tensorSums(ctx, file, s, model, opts)
}

// tensorSums holds the tensors against the sums of each, and of all together.
func (r *Report) tensorSums(ctx context.Context, file *gguf.File, s *Sums, model hashed, opts Options) error {
	update, end := opts.Progress("hashing tensors")
	hashes, err := gguf.Hash(ctx, file, update)
	end()
	if err != nil {
		return err
	}
	want := make(map[string]string)
	for _, t := range model.Tensors {
		want[t.Name] = t.SHA256
	}
	for i, t := range file.Tensors() {
		sum, ok := want[t.Name]
		delete(want, t.Name)
		switch got := hex.EncodeToString(hashes.Tensors[i][:]); {
		case !ok:
			r.find(Hash, pathOf(file, i), t.Name, file.Offset(i), "%s has no sum of it", s.path)
		case !strings.EqualFold(got, sum):
			r.find(Hash, pathOf(file, i), t.Name, file.Offset(i), "its SHA-256 is %s, %s says %s", got, s.path, sum)
		}
	}
	for _, t := range model.Tensors {
		if _, missing := want[t.Name]; missing {
			r.find(Hash, r.File, t.Name, -1, "it is missing: %s has a sum of it", s.path)
		}
	}
	if got := hex.EncodeToString(hashes.Data[:]); model.Data != "" && !strings.EqualFold(got, model.Data) {
		r.find(Hash, r.File, "", -1, "the SHA-256 of all tensors is %s, %s says %s", got, s.path, model.Data)
	}
	return nil
}
