package hf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/convert/packed"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// Options says how a checkpoint is converted. Without any, tensors keep their own
// types, each for itself: BF16 and F16 as they are, others as F32. Nothing is lost, so
// this is what to score, or to quantize further.
type Options struct {
	// Type is F32, F16, BF16 or Q8_0: what all tensors become except those that
	// llama.cpp wants in F32 (one-dimensional ones, norms, routers) and those
	// whose rows do not divide into blocks (F16).
	Type *gguf.Type
	// Auto chooses the Type: that of the first matrix that has 16 bits, F16 if
	// none does. Type must be nil.
	Auto bool
	// Exact leaves packed matrices quantized, whatever the type of the others, where blocks of
	// a type hold the same values: see weights.BlocksOf. If they are most of what is
	// quantized, general.file_type is their type.
	Exact bool
	// Name replaces the general.name that is derived from the model card,
	// config.json or the directory's name.
	Name string
	// Pre is the name of the pre-tokenizer of a byte-level vocabulary, instead of the
	// one that cuts words as the checkpoint's does. See vocab.CheckPre.
	Pre string
	// NoVocabulary leaves out the vocabulary, and all else that tokenizer.* says: the tokenizer's files, which can be large, are not
	// read.
	NoVocabulary bool
}

// Checkpoint is a Hugging Face directory as a gguf.Source.
type Checkpoint struct {
	files    Files
	pin      string
	meta     *gguf.Metadata
	tensors  []gguf.TensorInfo
	plan     []arch.Tensor     // in the order of tensors
	packings [][]gguf.Packing  // of each tensor
	blocks   []*weights.Blocks // what a tensor is read from, nil if from its numbers
	notes    []string
	warnings []string
	noBOS    bool
	typ      *gguf.Type // nil if tensors keep their own
	scratch  sync.Pool  // of *[]float32, numbers between being read and being converted
}

var (
	_ gguf.Pinned   = (*Checkpoint)(nil)
	_ gguf.Unpacker = (*Checkpoint)(nil)
)

// Open opens the checkpoint in a directory. The caller must close it. The error
// wraps gguf.ErrCorrupt if the directory contradicts itself,
// gguf.ErrUnsupported if it cannot be converted, and fs.ErrNotExist if a file
// is missing.
func Open(dir string, opts Options) (*Checkpoint, error) {
	return OpenIn(files.Directory(dir), opts)
}

// OpenIn opens the checkpoint in a folder, as Open does.
func OpenIn(folder files.Folder, opts Options) (*Checkpoint, error) {
	parts, err := OpenParts(folder)
	if err != nil {
		return nil, err
	}
	return New(parts, opts)
}

// Parts are what a checkpoint is made of.
type Parts struct {
	// Set has the tensors.
	weights.Set
	// Files are what they are read from.
	Files Files
	// Path is that of the checkpoint's folder, which need not be there: what its files are called
	// for people. The name of the folder, that of ".", may become the model's.
	Path func(name string) string
	// Tokenizer has the tokenizer's files and generation_config.json.
	Tokenizer files.Folder
	// Config is config.json, and Card is README.md.
	Config, Card []byte
	// Notes and Warnings are what Checkpoint's methods of these names return, as far
	// as it is known.
	Notes, Warnings []string
	// pin is that of the checkpoint: see gguf.Pinned.
	pin string
}

// Bytes returns how much the tensors take.
func (p Parts) Bytes() int64 {
	var sum int64
	for _, name := range p.Names() {
		sum += weights.Bytes(p.Get(name))
	}
	return sum
}

// Files are open files.
type Files interface {
	io.Closer
	Inputs() []*files.File
}

// OpenParts opens the parts of a checkpoint in a folder, for New. Errors are those
// of Open.
func OpenParts(folder files.Folder) (Parts, error) {
	p := Parts{Path: folder.Path, Tokenizer: folder}
	var err error
	p.Config, err = sidecar.Read(folder, configName)
	if errors.Is(err, fs.ErrNotExist) {
		err = noConfig(folder, err)
	}
	if err != nil {
		return Parts{}, err
	}
	p.Card, err = sidecar.Read(folder, cardName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Warnings = append(p.Warnings, err.Error()+"; it is left out")
	}
	tensors, err := safetensors.OpenIn(folder)
	if err != nil {
		return Parts{}, err
	}
	p.Set, p.Files = tensors, tensors
	packing, err := p.unpack(folder)
	if err != nil {
		return Parts{}, errors.Join(err, tensors.Close())
	}
	if pin := tensors.Pin(); pin != "" {
		sum := sha256.New()
		fmt.Fprintf(sum, "%s\n%q\n%q\n", pin, p.Config, packing)
		p.pin = hex.EncodeToString(sum.Sum(nil))
	}
	return p, nil
}

// unpack replaces the tensors of a checkpoint that is quantized. It returns what it says of that.
func (p *Parts) unpack(folder files.Folder) (packing []byte, err error) {
	config, err := packed.ReadConfig(folder, p.Config)
	if err != nil {
		return nil, err
	}
	if p.Set, err = packed.Unpack(p.Set, config); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Path("."), err)
	}
	return config.JSON(), nil
}

// New returns a checkpoint of its parts, in a directory or not. Closing it closes
// their files, which an error does as well. Errors are those of Open.
func New(from Parts, opts Options) (_ *Checkpoint, err error) {
	c := &Checkpoint{files: from.Files, pin: from.pin}
	c.scratch.New = func() any { return new([]float32) }
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if opts.Type != nil {
		if opts.Auto {
			return nil, errors.New("hf: Options has both Type and Auto")
		}
		if _, ok := fileTypes[*opts.Type]; !ok {
			return nil, fmt.Errorf("%w: converting a checkpoint to %s (F32, F16, BF16 and Q8_0 are possible)", gguf.ErrUnsupported, *opts.Type)
		}
	}
	model, err := arch.Read(from.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Path(configName), err)
	}
	plan, err := model.Plan(from)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Path("."), err)
	}
	if others := slices.DeleteFunc(slices.Clone(from.Names()), arch.IsText); len(others) > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%d tensors that are not of the text model are left out, such as %s", len(others), others[0]))
	}
	own := opts.Type == nil && !opts.Auto
	fileType := gguf.F16
	if own {
		fileType = gguf.F32
	}
	if t, ok := first16Bit(from); ok {
		fileType = t
	}
	if opts.Type != nil {
		fileType = *opts.Type
	}
	if !own {
		c.typ = &fileType
	}
	exact := opts.Exact || model.Repacked && !own
	if exact {
		if plan, err = repackedFirst(plan); err != nil {
			return nil, fmt.Errorf("%s: %w", from.Path("."), err)
		}
	}
	for _, t := range plan {
		typ := fileType
		if own {
			typ = ownType(t)
		}
		if err := c.add(t, typ, packings(from.Set, t), exact); err != nil {
			return nil, fmt.Errorf("%s: %w", from.Path("."), err)
		}
	}

	general, warnings, err := generalMetadata(from, opts.Name, c.tensors)
	if err != nil {
		return nil, err
	}
	tokens := new(vocab.Vocabulary)
	if !opts.NoVocabulary {
		tokens, err = vocab.LoadFrom(from.Tokenizer, vocab.Options{Size: model.VocabSize, Rules: model.VocabularyRules(), Pre: opts.Pre})
		if err != nil {
			return nil, err
		}
	}
	c.notes, c.noBOS = append(c.notes, from.Notes...), tokens.NoBOS
	c.warnings = slices.Concat(warnings, from.Warnings, tokens.Warnings)
	kvs := []gguf.KV{{Key: "general.architecture", Value: model.Name}}
	early, err := model.EarlyMetadata()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Path("."), err)
	}
	kvs = append(kvs, early...)
	kvs = append(kvs, gguf.KV{Key: "general.type", Value: "model"})
	kvs = append(kvs, general...)
	number := fileTypes[fileType]
	if f, ok := recipe.Mostly(c.exact(), c.tensors); ok && (opts.Exact || fileType != gguf.Q8_0) {
		number = uint32(f)
	}
	var pooling []gguf.KV
	if model.Embeddings {
		if pooling, err = poolingMetadata(model.Name, from.Tokenizer); err != nil {
			return nil, err
		}
	}
	kvs = append(kvs, model.Metadata(number, pooling...)...)
	kvs = append(kvs, gguf.KV{Key: "general.quantization_version", Value: uint32(2)})
	for _, kv := range tokens.Metadata {
		if i := slices.IndexFunc(kvs, func(other gguf.KV) bool { return other.Key == kv.Key }); i >= 0 {
			kvs[i].Value = kv.Value // in the place that the model gave it
			continue
		}
		kvs = append(kvs, kv)
	}
	c.meta = gguf.NewMetadata(kvs...)
	return c, nil
}

// repackedFirst returns the tensors with floats of 4 bits in front: convert_hf_to_gguf.py
// writes those first that it only lays out anew.
func repackedFirst(plan []arch.Tensor) ([]arch.Tensor, error) {
	var first, others []arch.Tensor
	for _, t := range plan {
		blocks, err := weights.BlocksOf(t.Rows)
		if err != nil {
			return nil, err
		}
		if blocks != nil && !t.AlwaysF32() && (blocks.Type == gguf.NVFP4 || blocks.Type == gguf.MXFP4) {
			first = append(first, t)
		} else {
			others = append(others, t)
		}
	}
	return append(first, others...), nil
}

// add adds a tensor of type t, or of another if it has to be, or may be, to be exact.
func (c *Checkpoint) add(t arch.Tensor, typ gguf.Type, packings []gguf.Packing, exact bool) (err error) {
	info := gguf.TensorInfo{Name: t.Name, Type: typ, Shape: slices.Clone(t.Shape())}
	slices.Reverse(info.Shape)
	var blocks *weights.Blocks
	switch {
	case t.AlwaysF32():
		info.Type = gguf.F32
	case exact:
		if blocks, err = weights.BlocksOf(t.Rows); err != nil {
			return err
		}
	}
	switch {
	case blocks != nil:
		info.Type = blocks.Type
	case info.RowLen()%int64(info.Type.BlockSize()) != 0:
		info.Type = gguf.F16
	}
	if err := info.Check(); err != nil {
		return err
	}
	c.tensors, c.plan = append(c.tensors, info), append(c.plan, t)
	c.packings, c.blocks = append(c.packings, packings), append(c.blocks, blocks)
	if blocks == nil {
		return nil
	}
	// llama.cpp multiplies what comes out of the product, or that of each expert.
	for _, s := range []struct {
		end    string
		scales []float32
	}{{".scale", blocks.Scales}, {".input_scale", blocks.Inputs}} {
		if !slices.ContainsFunc(s.scales, func(f float32) bool { return f != 1 }) {
			continue
		}
		values := weights.Values(weights.F32, s.scales, int64(len(s.scales)))
		if err := c.add(arch.Tensor{Name: strings.TrimSuffix(t.Name, ".weight") + s.end, Rows: values}, gguf.F32, nil, false); err != nil {
			return err
		}
	}
	return nil
}

// exact returns the tensors that are read from blocks.
func (c *Checkpoint) exact() []gguf.TensorInfo {
	var exact []gguf.TensorInfo
	for i, b := range c.blocks {
		if b != nil {
			exact = append(exact, c.tensors[i])
		}
	}
	return exact
}

// fileTypes gives the numbers of llama.cpp's enum llama_ftype.
var fileTypes = map[gguf.Type]uint32{gguf.F32: 0, gguf.F16: 1, gguf.Q8_0: 7, gguf.BF16: 32}

// first16Bit returns the type of the first matrix that is of a 16-bit type.
func first16Bit(set weights.Set) (t gguf.Type, ok bool) {
	for _, name := range set.Names() {
		r := set.Get(name)
		if len(r.Shape()) >= 2 && arch.IsText(name) && r.Dtype() != weights.F32 {
			if t, ok := r.Dtype().GGUF(); ok {
				return t, true
			}
		}
	}
	return 0, false
}

// ownType returns the 16-bit type that all of a tensor is stored in, or F32.
func ownType(r weights.Rows) gguf.Type {
	if t, ok := r.Dtype().GGUF(); ok {
		return t
	}
	return gguf.F32
}

// Metadata implements gguf.Source.
func (c *Checkpoint) Metadata() *gguf.Metadata { return c.meta }

// Tensors implements gguf.Source.
func (c *Checkpoint) Tensors() []gguf.TensorInfo { return c.tensors }

// Notes returns what the user should know of the model, a sentence each.
func (c *Checkpoint) Notes() []string { return c.notes }

// Warnings returns what is wrong with files that are not needed, such as the model card,
// and what was made of it, a sentence each.
func (c *Checkpoint) Warnings() []string { return c.warnings }

// Packings implements gguf.Unpacker. A merged checkpoint is kept nowhere, and not packed, whatever
// it is made of.
func (c *Checkpoint) Packings(tensor int) []gguf.Packing { return c.packings[tensor] }

// packings returns how what a tensor is made of is packed.
func packings(set weights.Set, t arch.Tensor) []gguf.Packing {
	unpacked, ok := set.(*packed.Set)
	if !ok {
		return nil
	}
	var list []gguf.Packing
	for _, name := range t.Sources() {
		if p, ok := unpacked.Packing(name); ok {
			list = append(list, p)
		}
	}
	return gguf.SumPackings(list)
}

// Type returns what tensors were converted to, by Options.Type or Auto; ok is false if
// they keep their own types.
func (c *Checkpoint) Type() (t gguf.Type, ok bool) {
	if c.typ == nil {
		return 0, false
	}
	return *c.typ, true
}

// Blocks returns what a tensor is read from with Options.Exact, nil if from its numbers.
func (c *Checkpoint) Blocks(tensor int) *weights.Blocks { return c.blocks[tensor] }

// Unpacked returns the checkpoint with the numbers of all tensors, F32 where it has
// blocks.
func (c *Checkpoint) Unpacked() gguf.Source {
	u := &unpacked{c, slices.Clone(c.tensors)}
	for i, b := range c.blocks {
		if b != nil {
			u.tensors[i].Type = gguf.F32
		}
	}
	return u
}

type unpacked struct {
	*Checkpoint
	tensors []gguf.TensorInfo
}

func (u *unpacked) Tensors() []gguf.TensorInfo { return u.tensors }
func (u *unpacked) ReadRows(dst []byte, tensor int, first, n int64) error {
	return u.readNumbers(dst, u.tensors[tensor], u.plan[tensor], first, n)
}

// NoBOS reports whether texts begin with no token, whatever the metadata name as the
// beginning of a sequence. See vocab.Vocabulary.
func (c *Checkpoint) NoBOS() bool { return c.noBOS }

// Inputs implements gguf.FileSource, for the files of tensors: the others were read
// when the checkpoint was opened.
func (c *Checkpoint) Inputs() []*files.File { return c.files.Inputs() }

// Pin implements gguf.Pinned. It is "" if the parts are not those of a folder.
func (c *Checkpoint) Pin() string { return c.pin }

// Grain implements gguf.Grainer.
func (c *Checkpoint) Grain(tensor int) int64 { return c.plan[tensor].Grain() }

// Close closes the checkpoint's files.
func (c *Checkpoint) Close() error { return c.files.Close() }

// ReadRows implements gguf.Source.
func (c *Checkpoint) ReadRows(dst []byte, tensor int, first, n int64) error {
	if b := c.blocks[tensor]; b != nil {
		if err := c.tensors[tensor].CheckRows(dst, first, n); err != nil {
			return err
		}
		return b.Read(dst, first, n)
	}
	return c.readNumbers(dst, c.tensors[tensor], c.plan[tensor], first, n)
}

// readNumbers reads rows of a tensor as those of another type.
func (c *Checkpoint) readNumbers(dst []byte, info gguf.TensorInfo, src weights.Rows, first, n int64) error {
	if err := info.CheckRows(dst, first, n); err != nil {
		return err
	}
	if t, ok := src.Dtype().GGUF(); ok && t == info.Type {
		return src.ReadRaw(dst, first, n)
	}
	buf := c.scratch.Get().(*[]float32)
	defer c.scratch.Put(buf)
	for n > 0 {
		some := min(n, together(src))
		values := slices.Grow((*buf)[:0], int(some*info.RowLen()))[:some*info.RowLen()]
		*buf = values
		if err := src.ReadRows(values, first, some); err != nil {
			return err
		}
		size := some * info.RowBytes()
		if err := quant.Quantize(info.Type, dst[:size], values, int(info.RowLen()), nil); err != nil {
			return err
		}
		dst, first, n = dst[size:], first+some, n-some
	}
	return nil
}

// scratchElements is how many numbers are converted at a time, unless a row has more.
const scratchElements = 1 << 14

// together returns how many rows of a tensor are read at a time: whole grains, unless
// these are large.
func together(r weights.Rows) int64 {
	const most = 64
	_, length := weights.Count(r.Shape())
	rows, grain := max(1, scratchElements/max(1, length)), min(r.Grain(), most)
	return (rows + grain - 1) / grain * grain
}
