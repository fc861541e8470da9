package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/quant"
)

// Options says how a checkpoint is converted.
type Options struct {
	// Type is F32, F16, BF16 or Q8_0, the type of all tensors except those that
	// llama.cpp wants in F32 (one-dimensional ones, norms, routers) and those
	// whose rows do not divide into blocks (F16). Nil means the 16-bit type of
	// the first matrix that has one, F16 if none does.
	Type *gguf.Type
	// KeepTypes leaves the tensors their own types instead, each for itself:
	// BF16 and F16 as they are, others as F32. Nothing is lost, so this is what
	// to score, or to quantize further. Type must be nil.
	KeepTypes bool
	// Name replaces the general.name that is derived from the model card,
	// config.json or the directory's name.
	Name string
	// Pre is the name of the pre-tokenizer of a byte-level vocabulary, instead of the
	// one that cuts words as the checkpoint's does. See vocab.CheckPre.
	Pre string
}

// Checkpoint is a Hugging Face directory as a gguf.Source.
type Checkpoint struct {
	files    *safetensors.Checkpoint
	meta     *gguf.Metadata
	tensors  []gguf.TensorInfo
	plan     []arch.Tensor // in the order of tensors
	notes    []string
	warnings []string
	scratch  sync.Pool // of *scratch
}

var _ gguf.FileSource = (*Checkpoint)(nil)

// Open opens the checkpoint in a directory. The caller must close it. The error
// wraps gguf.ErrCorrupt if the directory contradicts itself,
// gguf.ErrUnsupported if it cannot be converted, and fs.ErrNotExist if a file
// is missing.
func Open(dir string, opts Options) (*Checkpoint, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, notThere(dir, err)
	}
	config, err := sidecar.Read(filepath.Join(dir, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		err = noConfig(dir, err)
	}
	if err != nil {
		return nil, err
	}
	files, err := safetensors.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	card, cardErr := sidecar.Read(filepath.Join(dir, "README.md"))
	c, err := newCheckpoint(parts{files: files, dir: dir, tokenizer: dir, config: config, card: card}, opts)
	if err != nil {
		return nil, err
	}
	if cardErr != nil && !errors.Is(cardErr, fs.ErrNotExist) {
		c.warnings = append(c.warnings, cardErr.Error()+"; it is left out")
	}
	return c, nil
}

// OpenRecipe merges models into a mixture as a recipe says, and opens it as Open
// opens what Merge.Write writes. Path is that of the recipe. The caller must close
// the result. The error may wrap moe.ErrRecipe.
func OpenRecipe(ctx context.Context, path string, merge moe.Options, opts Options) (*Checkpoint, error) {
	recipe, err := moe.Read(path)
	if err != nil {
		return nil, err
	}
	m, err := moe.New(ctx, recipe, merge)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return OpenMerge(m, strings.TrimSuffix(path, filepath.Ext(path)), opts)
}

// OpenMerge opens a mixture as Open opens what Merge.Write writes to dir, which need not
// be there. Closing the result, or an error, closes the mixture.
func OpenMerge(m *moe.Merge, dir string, opts Options) (*Checkpoint, error) {
	c, err := newCheckpoint(parts{files: m.Checkpoint, dir: dir, tokenizer: m.Base, config: m.Config, card: m.Card}, opts)
	if err != nil {
		return nil, err
	}
	c.notes = append(c.notes, m.Notes...)
	return c, nil
}

// parts are what a checkpoint is made of.
type parts struct {
	files     *safetensors.Checkpoint
	dir       string // for its name
	tokenizer string // directory of the tokenizer and of generation_config.json
	config    []byte // config.json
	card      []byte // README.md
}

// newCheckpoint closes the files if it fails.
func newCheckpoint(from parts, opts Options) (_ *Checkpoint, err error) {
	c := &Checkpoint{files: from.files}
	c.scratch.New = func() any { return new(scratch) }
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if opts.Type != nil {
		if opts.KeepTypes {
			return nil, errors.New("convert: Options has both Type and KeepTypes")
		}
		if _, ok := fileTypes[*opts.Type]; !ok {
			return nil, fmt.Errorf("%w: converting a checkpoint to %s (F32, F16, BF16 and Q8_0 are possible)", gguf.ErrUnsupported, *opts.Type)
		}
	}
	a, config, err := arch.Read(from.config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(from.dir, "config.json"), err)
	}
	if c.plan, err = a.Plan(config, c.files); err != nil {
		return nil, fmt.Errorf("%s: %w", from.dir, err)
	}
	if others := slices.DeleteFunc(slices.Clone(c.files.Tensors()), func(t *safetensors.Tensor) bool { return arch.IsText(t.Name) }); len(others) > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%d tensors that are not of the text model are left out, such as %s", len(others), others[0].Name))
	}
	fileType := gguf.F16
	if opts.KeepTypes {
		fileType = gguf.F32
	}
	if t, ok := first16Bit(c.files.Tensors()); ok {
		fileType = t
	}
	if opts.Type != nil {
		fileType = *opts.Type
	}
	for _, t := range c.plan {
		info := gguf.TensorInfo{Name: t.Name, Type: gguf.F32, Shape: t.Shape}
		switch {
		case alwaysF32(t):
		case opts.KeepTypes:
			info.Type = ownType(t)
		default:
			info.Type = fileType
		}
		if info.RowLen()%int64(info.Type.BlockSize()) != 0 {
			info.Type = gguf.F16
		}
		if err := info.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", from.dir, err)
		}
		c.tensors = append(c.tensors, info)
	}

	general, warnings, err := generalMetadata(from, opts.Name, c.tensors)
	if err != nil {
		return nil, err
	}
	tokens, err := vocab.Load(from.tokenizer, vocab.Options{Size: config.VocabSize, Architecture: a.Name, Pre: opts.Pre})
	if err != nil {
		return nil, err
	}
	c.warnings = warnings
	kvs := []gguf.KV{{Key: "general.architecture", Value: a.Name}, {Key: "general.type", Value: "model"}}
	kvs = append(kvs, general...)
	kvs = append(kvs, a.Metadata(config, fileTypes[fileType])...)
	if a.Embeddings {
		pooling, err := poolingMetadata(a.Name, from.tokenizer)
		if err != nil {
			return nil, err
		}
		kvs = append(kvs, pooling...)
	}
	kvs = append(kvs, gguf.KV{Key: "general.quantization_version", Value: uint32(2)})
	c.meta = gguf.NewMetadata(append(kvs, tokens...)...)
	return c, nil
}

// fileTypes gives the numbers of llama.cpp's enum llama_ftype.
var fileTypes = map[gguf.Type]uint32{gguf.F32: 0, gguf.F16: 1, gguf.Q8_0: 7, gguf.BF16: 32}

// alwaysF32 reports whether llama.cpp computes with a tensor in F32 only.
func alwaysF32(t arch.Tensor) bool {
	return len(t.Shape) < 2 || !strings.HasSuffix(t.Name, ".weight") ||
		strings.HasSuffix(t.Name, "_norm.weight") || strings.HasSuffix(t.Name, ".ffn_gate_inp.weight") || strings.HasSuffix(t.Name, ".ffn_gate_inp_shexp.weight")
}

// first16Bit returns the type of the first matrix that is of a 16-bit type.
func first16Bit(tensors []*safetensors.Tensor) (t gguf.Type, ok bool) {
	for _, t := range tensors {
		if len(t.Shape) < 2 || !arch.IsText(t.Name) {
			continue
		}
		switch t.Dtype {
		case safetensors.BF16:
			return gguf.BF16, true
		case safetensors.F16:
			return gguf.F16, true
		}
	}
	return 0, false
}

// ownType returns the 16-bit type that all of a tensor is stored in, or F32.
func ownType(t arch.Tensor) gguf.Type {
	dtype := t.Parts[0].Tensor.Dtype
	if slices.ContainsFunc(t.Parts, func(p arch.Part) bool { return p.Tensor.Dtype != dtype }) {
		return gguf.F32
	}
	switch dtype {
	case safetensors.BF16:
		return gguf.BF16
	case safetensors.F16:
		return gguf.F16
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

// Inputs implements gguf.FileSource, for the files of tensors: the others were read
// when the checkpoint was opened.
func (c *Checkpoint) Inputs() []*files.File { return c.files.Inputs() }

// Close closes the checkpoint's files.
func (c *Checkpoint) Close() error { return c.files.Close() }

// ReadRows implements gguf.Source.
func (c *Checkpoint) ReadRows(dst []byte, tensor int, first, n int64) error {
	info, plan := c.tensors[tensor], c.plan[tensor]
	if err := info.CheckRows(dst, first, n); err != nil {
		return err
	}
	rows, rowLen := info.Rows(), info.RowLen()
	if plan.Data != nil {
		return quant.Quantize(info.Type, dst, plan.Data[first*rowLen:][:n*rowLen])
	}
	if plan.Heads != 0 && len(info.Shape) == 1 { // a bias: its elements are what rows are elsewhere
		rows, rowLen, first, n = rowLen, 1, first*rowLen, n*rowLen
	}
	partRows := rows / int64(len(plan.Parts))
	for n > 0 {
		part, row := plan.Parts[first/partRows], first%partRows
		run := int64(1)
		if plan.Heads == 0 {
			run = min(n, partRows-row)
		}
		from := part.First + arch.SourceRow(row, partRows, plan.Heads)
		size := info.Type.RowBytes(run * rowLen)
		if err := c.read(dst[:size], info.Type, part.Tensor, from*rowLen, run*rowLen); err != nil {
			return err
		}
		dst, first, n = dst[size:], first+run, n-run
	}
	return nil
}

// scratch holds elements between being read and being converted.
type scratch struct {
	raw    [8 * scratchElements]byte
	floats [scratchElements]float32
}

// scratchElements is a multiple of every block size.
const scratchElements = 1 << 14

// read converts n elements of a checkpoint tensor, from number first on, to
// type t.
func (c *Checkpoint) read(dst []byte, t gguf.Type, src *safetensors.Tensor, first, n int64) error {
	if string(src.Dtype) == t.String() { // the same names mean the same bits
		return src.Read(dst, first)
	}
	s := c.scratch.Get().(*scratch)
	defer c.scratch.Put(s)
	for n > 0 {
		count := min(n, scratchElements)
		raw, floats := s.raw[:count*int64(src.Dtype.Size())], s.floats[:count]
		if err := src.Read(raw, first); err != nil {
			return err
		}
		src.Dtype.Float32(floats, raw)
		size := t.RowBytes(count)
		if err := quant.Quantize(t, dst[:size], floats); err != nil {
			return err
		}
		dst, first, n = dst[size:], first+count, n-count
	}
	return nil
}
