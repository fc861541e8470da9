package quant

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
)

// Invalid says which blocks of a tensor are not numbers: see Validate.
type Invalid struct {
	Tensor int   // index in Tensors
	Rows   int64 // how many rows have such blocks
	First  int64 // the first of them
	Offset int64 // of what is wrong first, in bytes from the start of the tensor
	What   string
}

// Check reads every tensor of src but those of types without codec, and returns those with blocks that Validate rejects.
// Progress, if not nil, is called with the bytes done and in all, possibly by several goroutines at the same time.
func Check(ctx context.Context, src gguf.Source, progress func(done, total int64)) ([]Invalid, error) {
	var total int64
	for _, t := range src.Tensors() {
		if CanDequantize(t.Type) {
			total += t.Bytes()
		}
	}
	step := counter(total, progress)
	var all []Invalid
	for i, t := range src.Tensors() {
		if !CanDequantize(t.Type) {
			continue
		}
		chunks, err := inChunks(ctx, t, func(v *pair, first, n int64) (Invalid, error) {
			if err := v[0].fetch(src, i, first, n); err != nil {
				return Invalid{}, err
			}
			defer step(n * t.RowBytes())
			return checkRows(t, v[0].raw, first)
		})
		if err != nil {
			return nil, err
		}
		of := Invalid{Tensor: i}
		for _, c := range chunks {
			if of.Rows == 0 {
				of.First, of.Offset, of.What = c.First, c.Offset, c.What
			}
			of.Rows += c.Rows
		}
		if of.Rows > 0 {
			all = append(all, of)
		}
	}
	return all, nil
}

// checkRows looks at rows from first on.
func checkRows(t gguf.TensorInfo, data []byte, first int64) (found Invalid, err error) {
	if Validate(t.Type, data, int(t.RowLen())) == nil {
		return found, nil
	}
	rowBytes := t.RowBytes()
	for row := first; len(data) > 0; row, data = row+1, data[rowBytes:] {
		err := Validate(t.Type, data[:rowBytes], int(t.RowLen()))
		if err == nil {
			continue
		}
		var wrong *invalid
		if !errors.As(err, &wrong) {
			return found, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if found.Rows == 0 {
			found.First, found.Offset, found.What = row, row*rowBytes+int64(wrong.at), wrong.what
		}
		found.Rows++
	}
	return found, nil
}
