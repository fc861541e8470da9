package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

const (
	// maxHeader is the limit the format sets.
	maxHeader = 100_000_000
	// maxTensors is above the largest models (91,000 in all their shards) and
	// bounds the time a header can take.
	maxTensors = 1 << 18
	// maxDimensions is far above that of any tensor.
	maxDimensions = 64
)

// tensor is one tensor of a file.
type tensor struct {
	name  string
	dtype weights.Dtype
	shape []int64

	file   *File
	offset int64 // from the start of the file
	size   int64 // in bytes
}

func (t *tensor) Shape() []int64       { return t.shape }
func (t *tensor) Dtype() weights.Dtype { return t.dtype }
func (t *tensor) Grain() int64         { return 1 }

// scratch holds elements between being read and being decoded.
var scratch = sync.Pool{New: func() any { return new([128 << 10]byte) }}

func (t *tensor) ReadRows(dst []float32, first, n int64) error {
	if err := t.check(int64(len(dst)), first, n); err != nil {
		return err
	}
	_, length := weights.Count(t.shape)
	size := int64(t.dtype.Size())
	buf := scratch.Get().(*[128 << 10]byte)
	defer scratch.Put(buf)
	for offset := t.offset + first*length*size; len(dst) > 0; {
		some := min(len(dst), len(buf)/int(size))
		raw := buf[:some*int(size)]
		if err := t.readAt(raw, offset); err != nil {
			return err
		}
		t.dtype.Float32(dst[:some], raw)
		dst, offset = dst[some:], offset+int64(len(raw))
	}
	return nil
}

func (t *tensor) ReadRaw(dst []byte, first, n int64) error {
	size := int64(t.dtype.Size())
	if err := t.check(int64(len(dst))/size, first, n); err != nil {
		return err
	}
	_, length := weights.Count(t.shape)
	return t.readAt(dst, t.offset+first*length*size)
}

// ReadColumns implements weights.Columns.
func (t *tensor) ReadColumns(dst []byte, first, n int64) error {
	rows, length := weights.Count(t.shape)
	size := int64(t.dtype.Size())
	if first < 0 || n < 0 || first > length-n || int64(len(dst)) != rows*n*size {
		return fmt.Errorf("%s: tensor %q: columns [%d, %d) into %d bytes, it has %d rows of %d", t.file.name, t.name, first, first+n, len(dst), rows, length)
	}
	if n == length {
		return t.readAt(dst, t.offset)
	}
	for offset := t.offset + first*size; len(dst) > 0; offset += length * size {
		if err := t.readAt(dst[:n*size], offset); err != nil {
			return err
		}
		dst = dst[n*size:]
	}
	return nil
}

// ReadElements implements weights.Elements.
func (t *tensor) ReadElements(dst []byte, first int64) error {
	size := int64(t.dtype.Size())
	if n := int64(len(dst)); first < 0 || n%size != 0 || first > (t.size-n)/size {
		return fmt.Errorf("%s: tensor %q: elements from %d on into %d bytes, it has %d", t.file.name, t.name, first, n, t.size/size)
	}
	return t.readAt(dst, t.offset+first*size)
}

// check returns an error if the tensor does not have these rows, or they are not so
// many elements.
func (t *tensor) check(elements, first, n int64) error {
	rows, length := weights.Count(t.shape)
	if first < 0 || n < 0 || first > rows-n || elements != n*length {
		return fmt.Errorf("%s: tensor %q: rows [%d, %d) into %d elements, it has %d of %d", t.file.name, t.name, first, first+n, elements, rows, length)
	}
	return nil
}

func (t *tensor) readAt(dst []byte, offset int64) error {
	if n, err := t.file.r.ReadAt(dst, offset); n < len(dst) {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: the file was cut short after it was opened", gguf.ErrCorrupt)
		}
		return fmt.Errorf("%s: tensor %q at offset %d: %w", t.file.name, t.name, offset, err)
	}
	return nil
}

// File is one safetensors file: a set of tensors, in the order of their names.
type File struct {
	weights.Set
	name  string
	r     io.ReaderAt
	input *files.File // r, nil if the caller opened it
	notes map[string]string
	views *views // those of input
}

// Open opens the file at path. The caller must close it.
func Open(path string) (*File, error) {
	folder, name := files.Locate(path)
	return openIn(folder, name)
}

func openIn(folder files.Folder, name string) (*File, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	file, err := NewFile(f.Name(), f, f.Size())
	if err != nil {
		f.Close()
		return nil, err
	}
	file.input, file.views = f, new(views)
	var starts []int64
	for _, name := range file.Names() {
		starts = append(starts, file.Get(name).(*tensor).offset)
	}
	slices.Sort(starts)
	f.Sections(slices.Compact(starts))
	return file, nil
}

// NewFile reads the header of a safetensors file of the given size; name is
// used in errors. The error wraps gguf.ErrCorrupt if the header breaks a rule
// of the format and gguf.ErrUnsupported if a data type is unknown.
func NewFile(name string, r io.ReaderAt, size int64) (*File, error) {
	f := &File{name: name, r: r}
	var length [8]byte
	if size < int64(len(length)) {
		return nil, fmt.Errorf("%w: %s: %d bytes are too short for a safetensors file", gguf.ErrCorrupt, name, size)
	}
	if _, err := r.ReadAt(length[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-int64(len(length)) {
		return nil, fmt.Errorf("%w: %s: a header of %d bytes at offset 8 is impossible in a file of %d bytes (the limit is %d)", gguf.ErrCorrupt, name, n,
			size, maxHeader)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, 8); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: header: %w", name, err)
	}
	tensors, err := f.parse(header)
	if err == nil {
		err = checkLayout(tensors, 8+int64(n), size)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	slices.SortFunc(tensors, func(a, b *tensor) int { return strings.Compare(a.name, b.name) })
	var list weights.List
	for _, t := range tensors {
		if err := list.Add(t.name, t); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	f.Set = &list
	return f, nil
}

// parse reads the header's tensors. Their offsets are still relative to the
// data.
func (f *File) parse(header []byte) (tensors []*tensor, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(header), jsontext.AllowDuplicateNames(true)) // of fields that mean nothing
	corrupt := func(err error) error {
		return fmt.Errorf("%w: header at offset %d: %w", gguf.ErrCorrupt, 8+dec.InputOffset(), err)
	}
	seen := make(map[string]bool)
	err = eachMember(dec, func(name string) error {
		if seen[name] {
			return fmt.Errorf("tensor %.200q is there twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			f.notes, err = readNotes(dec)
			return err
		}
		t, err := readEntry(dec)
		if err != nil {
			return fmt.Errorf("tensor %.200q: %w", name, err)
		}
		if len(tensors) == maxTensors {
			return fmt.Errorf("more than %d tensors", maxTensors)
		}
		t.name, t.file = name, f
		tensors = append(tensors, t)
		return nil
	})
	if errors.Is(err, gguf.ErrUnsupported) {
		return nil, fmt.Errorf("header at offset %d: %w", 8+dec.InputOffset(), err)
	}
	if err != nil {
		return nil, corrupt(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, corrupt(errors.New("something follows the JSON object"))
	}
	return tensors, nil
}

// eachMember calls visit for the name of each member of an object, which reads the value.
func eachMember(dec *jsontext.Decoder, visit func(name string) error) error {
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '{' {
		return errors.New("not a JSON object")
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if err := visit(name.String()); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// readNotes reads __metadata__, which is null or has a text for each name.
func readNotes(dec *jsontext.Decoder) (map[string]string, error) {
	if dec.PeekKind() == 'n' {
		return nil, dec.SkipValue()
	}
	notes := make(map[string]string)
	err := eachMember(dec, func(name string) error {
		token, err := dec.ReadToken()
		if err == nil && token.Kind() != '"' {
			err = fmt.Errorf("%.200q is not a text", name)
		}
		if err == nil {
			notes[name] = token.String()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("__metadata__: %w", err)
	}
	return notes, nil
}

// readEntry reads what the header says of a tensor. As in the reference, the names of
// fields are told apart by case, none of the three may be missing or there twice, and
// others are ignored.
func readEntry(dec *jsontext.Decoder) (*tensor, error) {
	t := new(tensor)
	var offsets []int64
	seen := make(map[string]bool)
	err := eachMember(dec, func(name string) (err error) {
		if known := name == "dtype" || name == "shape" || name == "data_offsets"; !known {
			return dec.SkipValue()
		}
		if seen[name] {
			return fmt.Errorf("%s is there twice", name)
		}
		seen[name] = true
		switch name {
		case "dtype":
			var token jsontext.Token
			if token, err = dec.ReadToken(); err == nil && token.Kind() != '"' {
				err = errors.New("dtype is not a text")
			}
			t.dtype = weights.Dtype(token.String())
		case "shape":
			t.shape, err = readSizes(dec)
		case "data_offsets":
			offsets, err = readSizes(dec)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[name] {
			return nil, fmt.Errorf("%s is missing", name)
		}
	}
	if len(offsets) != 2 || offsets[1] < offsets[0] {
		return nil, fmt.Errorf("data_offsets %v are not a beginning and an end", offsets)
	}
	size := int64(t.dtype.Size())
	if size == 0 {
		return nil, fmt.Errorf("%w: data type %.40q", gguf.ErrUnsupported, t.dtype)
	}
	for _, d := range t.shape {
		if d > 0 && size > math.MaxInt64/d {
			return nil, fmt.Errorf("impossible shape %v", t.shape)
		}
		size *= d
	}
	if have := offsets[1] - offsets[0]; have != size {
		return nil, fmt.Errorf("%s %v takes %d bytes, data_offsets %v give it %d", t.dtype, t.shape, size, offsets, have)
	}
	t.offset, t.size = offsets[0], size
	return t, nil
}

// readSizes reads a list of whole numbers from 0 on.
func readSizes(dec *jsontext.Decoder) ([]int64, error) {
	if token, err := dec.ReadToken(); err != nil {
		return nil, err
	} else if token.Kind() != '[' {
		return nil, errors.New("no list where one of sizes is needed")
	}
	sizes := []int64{}
	for dec.PeekKind() != ']' {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		text := token.String()
		n, err := strconv.ParseUint(text, 10, 63)
		if token.Kind() != '0' || err != nil {
			return nil, fmt.Errorf("%.40q is not a size", text)
		}
		if len(sizes) == maxDimensions {
			return nil, fmt.Errorf("more than %d sizes", maxDimensions)
		}
		sizes = append(sizes, int64(n))
	}
	_, err := dec.ReadToken()
	return sizes, err
}

// checkLayout makes offsets absolute and checks that the tensors fill the data
// without gaps or overlaps.
func checkLayout(tensors []*tensor, data, size int64) error {
	slices.SortFunc(tensors, func(a, b *tensor) int {
		if a.offset != b.offset {
			if a.offset < b.offset {
				return -1
			}
			return 1
		}
		// Empty tensors may share an offset with the one that follows.
		return int(min(max(a.size-b.size, -1), 1))
	})
	end := int64(0)
	for _, t := range tensors {
		if t.offset != end {
			return fmt.Errorf("%w: tensor %q starts at offset %d, the one before it ends at %d", gguf.ErrCorrupt, t.name, data+t.offset, data+end)
		}
		if t.size > size-data-end {
			return fmt.Errorf("%w: tensor %q at offset %d needs %d bytes, the file ends after %d", gguf.ErrCorrupt, t.name, data+end, t.size, size-data-end)
		}
		end += t.size
		t.offset += data
	}
	if data+end != size {
		return fmt.Errorf("%w: the last tensor ends at offset %d, the file at %d", gguf.ErrCorrupt, data+end, size)
	}
	return nil
}

// Metadata returns the text that the file's __metadata__ has under a name, "" if there is
// none.
func (f *File) Metadata(name string) string { return f.notes[name] }

// Inputs returns the file if Open opened it.
func (f *File) Inputs() []*files.File {
	if f.input == nil {
		return nil
	}
	return []*files.File{f.input}
}

// Close closes the file if Open opened it.
func (f *File) Close() error {
	if f.input == nil {
		return nil
	}
	return errors.Join(f.views.close(), f.input.Close())
}
