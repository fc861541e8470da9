package convert

import (
	"context"
	"errors"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// OutputOptions says how a model becomes a file.
type OutputOptions struct {
	// Open says how the model is opened. Its Checkpoint.Name is that of the output,
	// whatever the model is kept in; ToGGUF sets the type there. Checkpoint.Exact leaves
	// quantized what can be, of a GGUF file all that is.
	Open Options
	// View says how weights are quantized: by which importance matrix, which tensors
	// to which types.
	View quant.ViewOptions
	// Write says how the file is written.
	Write gguf.WriteOptions
}

// ToGGUF writes the model at the path in, of any kind that OpenModel opens, as a GGUF
// file of a file type and returns the paths written: out, or several where
// gguf.WriteOptions.MaxBytes splits it. The output appears whole or not at all.
//
// It is what the command convert does. A checkpoint becomes F32, F16, BF16 and Q8_0 as convert_hf_to_gguf.py
// does it, and with recipe.Copy its own 16-bit type; every other type is what llama-quantize makes
// of that which loses nothing. Of a GGUF file all are what llama-quantize makes of it.
func ToGGUF(ctx context.Context, in, out string, fileType recipe.FileType, opts OutputOptions) (paths []string, err error) {
	model, err := OpenModel(ctx, in, opts.For(fileType))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	o, err := NewOutput(model, fileType, opts)
	if err != nil {
		return nil, err
	}
	return gguf.Write(ctx, out, o.Source, opts.Write)
}

// For returns the options to open a checkpoint with that is to be of a file type: as
// that already if converting can make it, else so that nothing is lost.
func (o Options) For(fileType recipe.FileType) Options {
	o.Checkpoint.Type, o.Checkpoint.Auto = nil, false
	switch fileType {
	case recipe.Copy:
		o.Checkpoint.Auto = true
	case recipe.F32, recipe.F16, recipe.BF16, recipe.Q8_0:
		if base, err := fileType.Base(); err == nil { // which they all have
			o.Checkpoint.Type = &base
		}
	}
	return o
}

// For returns the options to open a checkpoint with that is to be of a file type, as Options.For does: but if tensors
// have types of their own, nothing is made already.
func (o OutputOptions) For(fileType recipe.FileType) Options {
	open := o.Open.For(fileType)
	if len(o.View.Recipe.Overrides) > 0 {
		open.Checkpoint.Type, open.Checkpoint.Auto = nil, false
	}
	return open
}

// Output is a model as a file of some type.
type Output struct {
	// Source is what to write.
	Source gguf.Source
	// Original has the tensors of Source in the types that the model has them in.
	Original gguf.Source
	// View is Source if that quantizes the model, nil if it is the model.
	View *quant.View
	// Packed says what becomes of matrices that are packed in a checkpoint.
	Packed Packed

	notes []string
}

// NewOutput returns a model as a file of a type: as it is if it is a checkpoint
// that was opened with Options.For the type, else quantized as quant.NewView does it.
func NewOutput(m Model, fileType recipe.FileType, opts OutputOptions) (*Output, error) {
	checkpoint, _ := m.(*hf.Checkpoint)
	if checkpoint != nil && isOf(checkpoint, fileType) {
		o := &Output{Source: m, Original: checkpoint.Unpacked()}
		o.Packed = packedIn(checkpoint, o.Source, func(i int) int { return i })
		if opts.View.Importance != nil {
			o.notes = []string{"the importance matrix is not used: nothing is quantized with it"}
		}
		return o, nil
	}
	if name := opts.Open.Checkpoint.Name; checkpoint == nil && name != "" {
		opts.View.Metadata = append([]gguf.KV{{Key: "general.name", Value: name}}, opts.View.Metadata...)
	}
	opts.View.KeepQuantized = opts.View.KeepQuantized || opts.Open.Checkpoint.Exact
	view, err := quant.NewView(m, fileType, opts.View)
	if err != nil {
		return nil, err
	}
	o := &Output{Source: view, Original: view.Original(), View: view, notes: view.Notes()}
	if checkpoint != nil {
		o.Original = view.Arrange(checkpoint.Unpacked())
		o.Packed = packedIn(checkpoint, view, view.Origin)
	}
	return o, nil
}

// isOf reports whether a checkpoint was opened as what it is to become.
func isOf(c *hf.Checkpoint, fileType recipe.FileType) bool {
	typ, ok := c.Type()
	want := Options{}.For(fileType).Checkpoint
	return ok && (want.Auto || want.Type != nil && *want.Type == typ)
}

// Notes returns what the user should know, a sentence each.
func (o *Output) Notes() []string { return o.notes }
