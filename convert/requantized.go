package convert

import (
	"context"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Packed are tensors of an output, by their indices, that are packed in the checkpoint.
type Packed struct {
	// Exact have the same values in blocks.
	Exact []int
	// Rounded are, too, but for the last bit of a float32: see weights.Blocks.
	Rounded []int
	// Requantized were unpacked and are quantized a second time.
	Requantized []int
	// Unpacked are numbers again: the same in F32, rounded in F16 and BF16.
	Unpacked []int
}

// packedIn returns what becomes of packed matrices in an output, whose tensors are made of
// those of a checkpoint at origin.
func packedIn(c *hf.Checkpoint, output gguf.Source, origin func(tensor int) int) (p Packed) {
	for i, t := range output.Tensors() {
		blocks := c.Blocks(origin(i))
		switch {
		case len(c.Packings(origin(i))) == 0:
		case blocks != nil && blocks.Rounded:
			p.Rounded = append(p.Rounded, i)
		case blocks != nil:
			p.Exact = append(p.Exact, i)
		case t.Type.Quantized():
			p.Requantized = append(p.Requantized, i)
		default:
			p.Unpacked = append(p.Unpacked, i)
		}
	}
	return p
}

// sampleRows is how many rows of each tensor RequantizedNMSE looks at.
const sampleRows = 64

// RequantizedNMSE returns what quantizing packed matrices a second time costs: the sum of
// squared differences to what the checkpoint holds, divided by that of its values. It
// looks at a few rows of each, and is 0 if there are no such matrices.
func (o *Output) RequantizedNMSE(ctx context.Context) (float64, error) {
	differences, err := quant.Compare(ctx, &sample{o.Source, o.Packed.Requantized}, &sample{o.Original, o.Packed.Requantized}, nil)
	return quant.TotalNMSE(differences), err
}

// sample has some rows in the middle of some tensors.
type sample struct {
	gguf.Source
	of []int
}

func (s *sample) Tensors() []gguf.TensorInfo {
	tensors := make([]gguf.TensorInfo, len(s.of))
	for i, tensor := range s.of {
		t := s.Source.Tensors()[tensor]
		t.Shape = []int64{t.RowLen(), min(t.Rows(), sampleRows)}
		tensors[i] = t
	}
	return tensors
}

func (s *sample) ReadRows(dst []byte, tensor int, first, n int64) error {
	tensor = s.of[tensor]
	middle := max(0, s.Source.Tensors()[tensor].Rows()-sampleRows) / 2
	return s.Source.ReadRows(dst, tensor, middle/sampleRows*sampleRows+first, n)
}
