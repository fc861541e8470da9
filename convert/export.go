package convert

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/quant"
)

// ExportOptions says how a model becomes a checkpoint.
type ExportOptions struct {
	// Dtype is F32, F16 or BF16: what all tensors become. Without one nothing is lost of what
	// is stored as it is: tensors keep their types, and those that are packed or quantized
	// get that of the model.
	Dtype weights.Dtype
	// Merge is for merge recipes, and Remote for models that lie elsewhere, as in Options.
	Merge  moe.Options
	Remote *remote.Client
}

// Export is a model of any kind as a Hugging Face checkpoint that is to be written.
type Export struct {
	hf.Parts
	// Dtype is the type of most tensors, as config.json says.
	Dtype weights.Dtype

	path   string
	side   map[string][]byte
	starts []string
	closer func() error
}

// OpenExport opens a model of any kind that OpenModel opens, as a checkpoint: a directory or
// what a recipe makes as it is, with packed weights unpacked; a GGUF file as one that converts to it. The
// caller must close it.
func OpenExport(ctx context.Context, path string, opts ExportOptions) (_ *Export, err error) {
	e := &Export{path: path}
	defer func() {
		if err != nil && e.closer != nil {
			err = errors.Join(err, e.closer())
		}
	}()
	open := Options{Merge: opts.Merge, Remote: opts.Remote}.withRemote(ctx)
	if IsMergeRecipe(path) {
		err = e.openRecipe(ctx, open.Merge)
	} else {
		folder, file, errLocate := Locate(path, open.Remote)
		switch {
		case errLocate != nil:
			return nil, errLocate
		case file == "":
			err = e.openFolder(folder)
		default:
			err = e.openGGUF(ctx, open)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := e.choose(opts.Dtype); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// Close closes the files of the model.
func (e *Export) Close() error { return e.closer() }

func (e *Export) openRecipe(ctx context.Context, opts moe.Options) error {
	recipe, err := moe.Read(e.path)
	if err != nil {
		return err
	}
	m, err := moe.New(ctx, recipe, opts)
	if err != nil {
		return fmt.Errorf("%s: %w", e.path, err)
	}
	e.Parts, e.closer = m.Parts, m.Close
	return e.readSide()
}

func (e *Export) openFolder(folder files.Folder) (err error) {
	if e.Parts, err = hf.OpenParts(folder); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w (%s)", err, kinds)
		}
		return err
	}
	e.closer = e.Files.Close
	if slices.ContainsFunc(e.Names(), func(name string) bool { return weights.IsPadded(e.Get(name)) }) {
		if err := e.unpad(); err != nil {
			return fmt.Errorf("%s: %w", e.path, err)
		}
	}
	return e.readSide()
}

// unpad takes from packed tensors what their model has not.
func (e *Export) unpad() error {
	model, err := arch.Read(e.Config)
	if err != nil {
		return err
	}
	used, err := model.Used(e.Set)
	if err != nil {
		return err
	}
	var list weights.List
	for _, name := range e.Names() {
		r := e.Get(name)
		if weights.IsPadded(r) && used.Get(name) != nil {
			r = used.Get(name)
		}
		if err := list.Add(name, r); err != nil {
			return err
		}
	}
	e.Set = &list
	return nil
}

func (e *Export) openGGUF(ctx context.Context, opts Options) error {
	m, err := OpenModel(ctx, e.path, opts)
	if err != nil {
		return err
	}
	e.closer = m.Close
	if kind := gguf.KindOf(m); kind != gguf.KindModel {
		return fmt.Errorf("%w: %s is %s, not a model", gguf.ErrUnsupported, e.path, kind)
	}
	restored, err := hf.Restore(m)
	if err != nil {
		return fmt.Errorf("%s: %w", e.path, err)
	}
	e.Parts, e.side, e.starts = restored.Parts, restored.Side, restored.Starts
	if stacked, ok := m.(*quant.StackedFile); ok {
		e.Notes = append(e.Notes, stacked.Notes()...)
	}
	return nil
}

// beside lists files that go with a checkpoint. What else lies in a directory is of no use
// without what it belongs to: other forms of the weights, states of optimizers, logs.
var beside = []string{
	"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
	"tekken.json", "tiktoken.model", "chat_template.json", "generation_config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
	"modules.json", "embedding_config.json", "sentence_bert_config.json", "config_sentence_transformers.json", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE",
}

// isBeside reports whether a file goes with a checkpoint: those that are listed, templates,
// and the code of the model.
func isBeside(name string) bool {
	return slices.Contains(beside, name) || slices.Contains([]string{".jinja", ".py", ".tiktoken"}, filepath.Ext(name)) && !strings.HasPrefix(name, ".")
}

// readSide reads the files that go with the checkpoint.
func (e *Export) readSide() error {
	names, err := e.Tokenizer.List(".")
	if err != nil {
		return err
	}
	e.side = make(map[string][]byte)
	for _, name := range names {
		if !isBeside(name) {
			continue
		}
		if e.side[name], err = sidecar.Read(e.Tokenizer, name); err != nil {
			return err
		}
	}
	return nil
}

// torchNames are what PyTorch calls types.
var torchNames = map[weights.Dtype]string{weights.F32: "float32", weights.F16: "float16", weights.BF16: "bfloat16"}

// choose gives the tensors their types.
func (e *Export) choose(all weights.Dtype) error {
	if _, ok := torchNames[all]; !ok && all != "" {
		return fmt.Errorf("%w: a checkpoint of type %s (F32, F16 and BF16 are possible)", gguf.ErrUnsupported, all)
	}
	config := make(map[string]jsontext.Value) // numbers stay as they are written
	if err := pyjson.Unmarshal(e.Config, &config); err != nil {
		return fmt.Errorf("%w: config.json: %w", gguf.ErrCorrupt, err)
	}
	var err error
	if e.Dtype = all; all == "" {
		if e.Dtype, err = e.own(config); err != nil {
			return err
		}
	}
	var list weights.List
	for _, name := range e.Names() {
		r := e.Get(name)
		if weights.IsSpare(r) {
			continue
		}
		dtype := r.Dtype()
		switch packed := e.isPacked(r); {
		case !dtype.Float():
		case all != "" || packed:
			dtype = e.Dtype
		case dtype == weights.F32 && e.fromGGUF():
			// GGUF has vectors in F32 only.
			fits, err := fits(r, e.Dtype)
			if err != nil {
				return err
			}
			if fits {
				dtype = e.Dtype
			}
		}
		if err := list.Add(name, as(name, r, dtype)); err != nil {
			return err
		}
	}
	e.Set = &list
	return e.rewriteConfig(config, all)
}

// fromGGUF reports whether the checkpoint is made of a GGUF file.
func (e *Export) fromGGUF() bool { return e.Tokenizer == nil }

// isPacked reports whether a tensor is computed of one that has less bits.
func (e *Export) isPacked(r weights.Rows) bool {
	if e.fromGGUF() {
		return weights.IsQuantized(r)
	}
	_, computed := r.(weights.Expression)
	return computed && r.Dtype() == weights.F32
}

// own returns the type of the model's tensors: that which config.json says, or of the first
// matrix that has 16 bits. Of a GGUF model that is quantized it is the one that holds what
// is not.
func (e *Export) own(config map[string]jsontext.Value) (weights.Dtype, error) {
	for _, key := range []string{"torch_dtype", "dtype"} {
		var name string
		if pyjson.Unmarshal(config[key], &name) != nil {
			continue
		}
		for dtype, torch := range torchNames {
			if strings.TrimPrefix(name, "torch.") == torch {
				return dtype, nil
			}
		}
	}
	quantized := false
	first := weights.F32
	for _, name := range e.Names() {
		r := e.Get(name)
		quantized = quantized || e.isPacked(r)
		if d := r.Dtype(); len(r.Shape()) > 1 && first == weights.F32 && (d == weights.F16 || d == weights.BF16) {
			first = d
		}
	}
	if !quantized || !e.fromGGUF() && first != weights.F32 {
		return first, nil
	}
	possible := []weights.Dtype{weights.BF16, weights.F16}
	for _, name := range e.Names() {
		r := e.Get(name)
		if e.isPacked(r) || r.Dtype() != weights.F32 || len(r.Shape()) > 1 {
			continue
		}
		for _, d := range slices.Clone(possible) {
			if ok, err := fits(r, d); err != nil {
				return "", err
			} else if !ok {
				possible = slices.DeleteFunc(possible, func(other weights.Dtype) bool { return other == d })
			}
		}
	}
	return append(possible, weights.BF16)[0], nil
}

// chunk is how many numbers are looked at together, unless a row has more.
const chunk = 1 << 16

// fits reports whether all values of a tensor are numbers of a type.
func fits(r weights.Rows, dtype weights.Dtype) (bool, error) {
	if dtype == weights.F32 {
		return true, nil
	}
	rows, length := weights.Count(r.Shape())
	n := max(1, chunk/max(1, length))
	var values, rounded []float32
	for first := int64(0); first < rows; first += n {
		n := min(n, rows-first)
		values = slices.Grow(values[:0], int(n*length))[:n*length]
		if err := r.ReadRows(values, first, n); err != nil {
			return false, err
		}
		rounded = append(rounded[:0], values...)
		dtype.Round(rounded)
		for i, v := range values {
			if math.Float32bits(v) != math.Float32bits(rounded[i]) {
				return false, nil
			}
		}
	}
	return true, nil
}

// as returns a tensor in a type. What is too large for it is an error when it is read.
func as(name string, r weights.Rows, dtype weights.Dtype) weights.Rows {
	if r.Dtype() == dtype {
		return r
	}
	// From here on numbers are rounded to infinity.
	limit := map[weights.Dtype]float32{weights.F16: 65520, weights.BF16: 0x1.ffp127, weights.F32: float32(math.Inf(1))}[dtype]
	return weights.Compute(r.Shape(), dtype, r.Grain(), func(dst []float32, first, n int64) error {
		if err := r.ReadRows(dst, first, n); err != nil {
			return err
		}
		for i, v := range dst {
			if v >= limit || -v >= limit {
				return fmt.Errorf("tensor %.200q: %w: %v, in row %d, is beyond the numbers of type %s", name, gguf.ErrUnsupported, v,
					first+int64(i)/(int64(len(dst))/max(1, n)), dtype)
			}
		}
		return nil
	}, r)
}

// rewriteConfig makes config.json say what the tensors are now.
func (e *Export) rewriteConfig(config map[string]jsontext.Value, all weights.Dtype) error {
	before := len(config)
	delete(config, "quantization_config")
	delete(config, "compression_config") // of compressed-tensors, until 2024
	changed := len(config) != before
	for _, name := range []string{"text_config", "llm_config", "language_config"} {
		var part map[string]jsontext.Value
		if pyjson.Unmarshal(config[name], &part) != nil || part["quantization_config"] == nil {
			continue
		}
		delete(part, "quantization_config")
		text, err := json.Marshal(part)
		if err != nil {
			return err
		}
		config[name], changed = text, true
	}
	if all != "" || e.fromGGUF() {
		key := "torch_dtype"
		if _, ok := config["dtype"]; ok { // its name since transformers 5
			key = "dtype"
			delete(config, "torch_dtype")
		}
		config[key], changed = jsontext.Value(`"`+torchNames[e.Dtype]+`"`), true
	}
	if !changed {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(config)
	e.Config = b.Bytes()
	return err
}

// markerName is the file by which an export is known, and says what files it has.
const markerName = "ggufkit_export.json"

type marker struct {
	Model string   `json:"model"`
	Dtype string   `json:"dtype"`
	Files []string `json:"files"` // beside tensors
}

// ExportPlace returns the place of an export. Overwriting replaces what an earlier export
// wrote; other files stay, and the error wraps fs.ErrExist if that leaves no place. Nothing of what reads
// names may lie there.
func ExportPlace(dir string, overwrite bool, reads ...string) (hf.Place, error) {
	var m marker
	_ = sidecar.ReadJSON(files.Directory(dir), markerName, &m) // if it is no export there, nothing of it is replaced
	return hf.NewPlace(dir, hf.Kind{Name: "export", By: "an export", Marker: markerName, Side: func(name string) bool {
		return slices.Contains(m.Files, name)
	}}, overwrite, reads...)
}

// Write writes the checkpoint. The error is that of hf.Place.Write.
func (e *Export) Write(ctx context.Context, place hf.Place, opts hf.WriteOptions) error {
	m := marker{Model: filepath.Base(e.path), Dtype: string(e.Dtype)}
	side := make(map[string][]byte, len(e.side)+1)
	for name, data := range e.side {
		side[name] = data
		m.Files = append(m.Files, name)
	}
	slices.SortFunc(m.Files, cmp.Compare)
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	side[markerName] = append(text, '\n')
	opts.Starts = e.starts
	return place.Write(ctx, e.Parts, side, opts)
}
