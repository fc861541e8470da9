package allocate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
)

// counted is a mixture of random weights that counts those that are read.
type counted struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	noise   []byte
	read    atomic.Int64
}

func newCounted(layers, experts, used int) *counted {
	const width, hidden, vocabulary = 256, 256, 512
	c := &counted{meta: gguf.NewMetadata(
		gguf.KV{Key: "general.architecture", Value: "llama"},
		gguf.KV{Key: "llama.block_count", Value: uint32(layers)},
		gguf.KV{Key: "llama.context_length", Value: uint32(4096)},
		gguf.KV{Key: "llama.embedding_length", Value: uint32(width)},
		gguf.KV{Key: "llama.feed_forward_length", Value: uint32(hidden)},
		gguf.KV{Key: "llama.attention.head_count", Value: uint32(4)},
		gguf.KV{Key: "llama.attention.layer_norm_rms_epsilon", Value: float32(1e-5)},
		gguf.KV{Key: "llama.rope.dimension_count", Value: uint32(width / 4)},
		gguf.KV{Key: "llama.vocab_size", Value: uint32(vocabulary)},
		gguf.KV{Key: "llama.expert_count", Value: uint32(experts)},
		gguf.KV{Key: "llama.expert_used_count", Value: uint32(used)},
	)}
	add := func(name string, shape ...int64) {
		c.tensors = append(c.tensors, gguf.TensorInfo{Name: name + ".weight", Type: gguf.BF16, Shape: shape})
	}
	add("token_embd", width, vocabulary)
	add("output", width, vocabulary)
	add("output_norm", width)
	for i := range layers {
		layer := fmt.Sprintf("blk.%d.", i)
		for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			add(layer+name, width, width)
		}
		add(layer+"attn_norm", width)
		add(layer+"ffn_norm", width)
		add(layer+"ffn_gate_inp", width, int64(experts))
		for _, name := range []string{"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"} {
			add(layer+name, width, hidden, int64(experts))
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 1 << 20 { // of 0.01 to 0.03, either sign
		c.noise = binary.LittleEndian.AppendUint16(c.noise, 0x3c00|uint16(random.Uint32())&0x80ff)
	}
	return c
}

func (c *counted) Metadata() *gguf.Metadata   { return c.meta }
func (c *counted) Tensors() []gguf.TensorInfo { return c.tensors }

func (c *counted) ReadRows(dst []byte, tensor int, first, _ int64) error {
	if len(c.tensors[tensor].Shape) > 1 {
		c.read.Add(int64(len(dst)))
	}
	at := (int64(tensor)*1234567 + first*c.tensors[tensor].RowBytes()) * 2
	for i := range dst {
		dst[i] = c.noise[(at+int64(i))%int64(len(c.noise))]
	}
	return nil
}

// TestWorkIsBounded counts what runs are made of, weights that are read and tokens that go through layers, for models
// of which one or the other is most of a run: no more than nine times those of one run of the original.
func TestWorkIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("runs models")
	}
	types := []gguf.Type{gguf.Q8_0, gguf.Q6_K, gguf.Q5_K, gguf.Q4_K, gguf.IQ4_XS, gguf.Q3_K, gguf.Q2_K}
	for _, c := range []struct {
		name                  string
		layers, experts, used int
		ctx                   int
	}{
		{"many layers, little text", 24, 2, 1, 32},
		{"many experts", 3, 64, 2, 32},
		{"many experts, much text", 2, 16, 1, 256},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := newCounted(c.layers, c.experts, c.used)
			text := drift.Text{Name: "text"}
			for i := range 2 * c.ctx {
				text.Tokens = append(text.Tokens, int32(i*37%512))
			}
			chunks := [][]int32{text.Tokens[:c.ctx], text.Tokens[c.ctx:]}
			m, err := infer.New(src, infer.Options{})
			require.NoError(t, err)
			require.NoError(t, m.Forward(t.Context(), infer.Chunks(chunks, c.ctx/warmUp), func(int, int, []float32) {}))
			run := src.read.Swap(0)
			steps := 0
			_, err = Measure(t.Context(), src, nil, []drift.Text{text}, Options{
				Options: perplexity.Options{Ctx: c.ctx}, Types: types,
				Engine: infer.Options{Progress: func(_, total int) { steps = total }},
			})
			require.NoError(t, err)
			t.Logf("read %.2f times, %.2f times the steps", float64(src.read.Load())/float64(run), float64(steps)/float64(2*c.ctx*(c.layers+1)))
			require.Less(t, src.read.Load(), 9*run)
			require.Less(t, steps, 9*2*c.ctx*(c.layers+1))
		})
	}
}
