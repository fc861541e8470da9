package graph

import (
	"context"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// convolution is a causal convolution of each channel by itself: a sum of the inputs of a token and of the
// few before it, with weights of the channel. Those before are remembered.
type convolution struct {
	Recurrence
	channels int       // of all parts
	weights  []float32 // a row of all channels for each input, the oldest first
	bias     []float32 // or nil
	silu     bool      // of the sum
}

// mostChannels is how many channels one task takes at most.
const mostChannels = 512

// convolutionRoom is what a thread holds of a convolution of so many inputs.
func convolutionRoom(inputs int) int { return (inputs + 1) * mostChannels }

// convolution finds the weights of one over so many inputs, and its biases, if there are any.
func (b *Binder) convolution(name string, inputs, channels int, silu bool) *convolution {
	part := divisor(channels, mostChannels)
	return &convolution{
		Recurrence: Recurrence{Slot: b.slot, Parts: channels / part, Size: (inputs - 1) * part, Work: 2 * part},
		channels:   channels,
		weights:    transposed(b.weights(name, inputs, channels), inputs),
		bias:       b.vector(b.prefix+name+".bias", channels),
		silu:       silu,
	}
}

// divisor returns the largest divisor of n up to a limit, a multiple of 16 if n and the limit are.
func divisor(n, limit int) int {
	if n%16 == 0 && limit%16 == 0 {
		return 16 * divisor(n/16, limit/16)
	}
	d := min(n, limit)
	for n%d != 0 {
		d--
	}
	return d
}

// transposed returns rows of n elements as n rows.
func transposed(x []float32, n int) []float32 {
	t := make([]float32, len(x))
	for i, v := range x {
		t[i%n*(len(x)/n)+i/n] = v
	}
	return t
}

// remembered is how many floats it keeps of a text.
func (c *convolution) remembered() int { return c.Parts * c.Size }

// run replaces the channels, which in each row of x, of so many floats, begin with number at.
func (c *convolution) run(ctx context.Context, e Engine, x []float32, width, at int) error {
	n := c.channels / c.Parts
	return e.Recur(ctx, c.Recurrence, func(part, first, end int, before, work []float32) {
		input, ones := work[:n], work[n:]
		for i := range ones {
			ones[i] = 1
		}
		for row := first; row < end; row++ {
			sum := x[row*width+at+part*n:][:n]
			copy(input, sum)
			clear(sum)
			if c.bias != nil {
				copy(sum, c.bias[part*n:])
			}
			last := len(before) / n
			for i := range last {
				kernel.MulAdd(sum, before[i*n:][:n], c.weights[i*c.channels+part*n:])
			}
			kernel.MulAdd(sum, input, c.weights[last*c.channels+part*n:])
			if last > 0 {
				copy(before, before[n:])
				copy(before[(last-1)*n:], input)
			}
			if c.silu {
				kernel.SiLUMul(sum, ones)
			}
		}
	})
}
