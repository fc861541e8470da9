// Package verify says what is wrong with a GGUF file: how it is laid out, what its blocks hold, whether its
// vocabulary and its chat template can be used, and whether it is what others say that it is.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Check is what a finding is about.
type Check string

// The checks.
const (
	Structure Check = "structure" // offsets, sizes, overlaps, padding, files of a set
	Values    Check = "values"    // numbers in blocks, such as scales, that are NaN or infinite
	Tokenizer Check = "tokenizer"
	Template  Check = "template"
	Hash      Check = "hash"    // of Options.Sums
	Origin    Check = "against" // of Options.Against
)

// Finding is something that is wrong.
type Finding struct {
	Check  Check  `json:"check"`
	File   string `json:"file"`
	Tensor string `json:"tensor,omitempty"`
	// Offset is where it is in the file, in bytes from its start.
	Offset *int64 `json:"offset,omitempty"`
	What   string `json:"what"`
}

// Report is what was found in a file, or in the files of a set.
type Report struct {
	File     string    `json:"file"`
	Good     bool      `json:"good"`
	Findings []Finding `json:"findings"`
	// Checked are the checks that were made, and Notes what could not be, or is not wrong.
	Checked []Check  `json:"checked"`
	Notes   []string `json:"notes,omitempty"`
	Files   []string `json:"files"`
	Tensors int      `json:"tensors"`
	Bytes   int64    `json:"bytes"`
	// Matches are the tensors compared with those of Options.Against.
	Matches []Match `json:"matches,omitempty"`
}

// Match is a tensor compared with the one that it was to be made of.
type Match struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Same says that the bytes are what quantizing the original gives.
	Same bool `json:"same"`
	// NMSE is how far it is from the original, and Expected how far the type is, without importance matrix.
	NMSE     *float64 `json:"nmse,omitempty"`
	Expected *float64 `json:"expected_nmse,omitempty"`
}

// Comparing is the step of Options.Progress whose units are weights; those of others are bytes.
const Comparing = "comparing"

// Options say what a file is held against, and how.
type Options struct {
	// Against, if not nil, is the model that the file was made of.
	Against gguf.Source
	// Sums, if not nil, are hashes that were published.
	Sums *Sums
	// Progress, if set, returns what is called with how much of a step is done, and what ends it.
	Progress func(step string) (update func(done, total int64), end func())
}

// File looks at the file at path, or at all files of the split set that it is one of. The error is not about what is
// in the file, but that it could not be looked at.
func File(ctx context.Context, path string, opts Options) (_ *Report, err error) {
	if opts.Progress == nil {
		opts.Progress = func(string) (func(done, total int64), func()) { return nil, func() {} }
	}
	r := &Report{File: path, Findings: []Finding{}, Checked: []Check{Structure}}
	file, faults, err := gguf.Examine(path)
	if err != nil {
		return nil, err
	}
	for _, f := range faults {
		r.find(Structure, f.Path, f.Tensor, f.Offset, "%s", f.What)
	}
	if file == nil {
		r.Files = []string{path}
		return r.end(), nil
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r.Files, r.Tensors, r.Bytes = file.Paths(), len(file.Tensors()), file.Size()
	if err := r.values(ctx, file, opts); err != nil {
		return nil, err
	}
	r.vocabulary(file)
	if err := r.template(ctx, file); err != nil {
		return nil, err
	}
	if err := r.sums(ctx, file, opts); err != nil {
		return nil, err
	}
	if err := r.against(ctx, file, opts); err != nil {
		return nil, err
	}
	if err := gguf.Unchanged(file); err != nil {
		return nil, err
	}
	return r.end(), nil
}

func (r *Report) end() *Report {
	r.Good = len(r.Findings) == 0
	return r
}

// find adds a finding; an offset below 0 is none.
func (r *Report) find(check Check, file, tensor string, offset int64, format string, args ...any) {
	f := Finding{Check: check, File: file, Tensor: tensor, What: fmt.Sprintf(format, args...)}
	if offset >= 0 {
		f.Offset = &offset
	}
	r.Findings = append(r.Findings, f)
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// pathOf returns the file that a tensor is in.
func pathOf(file *gguf.File, tensor int) string { return file.Paths()[file.Shard(tensor)] }

// values looks for blocks that are not numbers.
func (r *Report) values(ctx context.Context, file *gguf.File, opts Options) error {
	r.Checked = append(r.Checked, Values)
	update, end := opts.Progress("checking values")
	invalid, err := quant.Check(ctx, file, update)
	end()
	if err != nil {
		return err
	}
	for _, v := range invalid {
		t := file.Tensors()[v.Tensor]
		r.find(Values, pathOf(file, v.Tensor), t.Name, file.Offset(v.Tensor)+v.Offset, "%d of %d rows of %s are not numbers; in row %d, %s", v.Rows, t.Rows(), t.Type, v.First, v.What)
	}
	var unknown []string
	for _, t := range file.Tensors() {
		if name := t.Type.String(); !quant.CanDequantize(t.Type) && !slices.Contains(unknown, name) {
			unknown = append(unknown, name)
		}
	}
	for _, name := range unknown {
		r.note("values of type %s are not looked at", name)
	}
	return nil
}

// farthest is an NMSE that no tensor of four bits or more has that was made of the other: what scales of their own
// are applied to is not quantized again to know better.
const farthest = 0.1

// against holds every tensor against what it was to be made of.
func (r *Report) against(ctx context.Context, file *gguf.File, opts Options) error {
	if opts.Against == nil {
		return nil
	}
	r.Checked = append(r.Checked, Origin)
	var src gguf.Source = file
	scaled, err := quant.ApplyScales(file)
	if err != nil {
		r.find(Origin, r.File, "", -1, "%v", err)
	} else if scaled != nil {
		src = scaled
		r.Notes = append(r.Notes, scaled.Notes()...)
	}
	update, end := opts.Progress(Comparing)
	matches, err := quant.Against(ctx, src, opts.Against, update)
	end()
	if err == nil {
		err = gguf.Unchanged(opts.Against)
	}
	if err != nil {
		return err
	}
	index := make(map[string]int)
	for i, t := range file.Tensors() {
		index[t.Name] = i
	}
	same := 0
	for i, m := range matches {
		if m.Tensor == nil {
			r.find(Origin, r.File, m.Name, -1, "it is missing: the other model has it")
			continue
		}
		at := index[m.Name]
		wrong := func(format string, args ...any) {
			r.find(Origin, pathOf(file, at), m.Name, file.Offset(at), format, args...)
		}
		hasScales := len(gguf.Packings(src, i)) > 0
		switch {
		case m.Original == nil:
			wrong("the other model has no such tensor")
			continue
		case m.Shape:
			wrong("its shape is %v, that of the other model %v", m.Tensor.Shape, m.Original.Shape)
			continue
		case m.Within():
		case m.Values == nil:
			wrong("its bytes are not those of the other model")
		case hasScales && m.Values.NonFiniteA == m.Values.NonFiniteB && m.Values.NMSE <= farthest:
		default:
			wrong("its NMSE is %.3g, that of %s is %.3g here (%d and %d elements are no numbers)",
				m.Values.NMSE, m.Tensor.Type, m.NMSE, m.Values.NonFiniteB, m.Values.NonFiniteA)
		}
		match := Match{Name: m.Name, Type: file.Tensors()[at].Type.String(), Same: m.Same}
		if m.Values != nil {
			match.NMSE = finite(m.Values.NMSE)
			if !hasScales {
				match.Expected = finite(m.NMSE)
			}
		}
		if m.Same {
			same++
		}
		r.Matches = append(r.Matches, match)
	}
	r.note("%d of %d tensors are the bytes that quantizing the other model gives", same, len(r.Matches))
	return nil
}
