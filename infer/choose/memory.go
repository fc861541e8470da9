package choose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// Setting is how llama.cpp is to run a model.
type Setting struct {
	Context int // tokens
	// Keys and Values are the types of the cache, which are among CacheTypes.
	Keys, Values gguf.Type
	// FlashAttention is llama.cpp's default where the backend has it, as those for
	// CPUs and CUDA do.
	FlashAttention bool
}

// CacheTypes are what llama.cpp can keep keys and values in.
var CacheTypes = []gguf.Type{gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0, gguf.Q4_0, gguf.Q4_1, gguf.IQ4_NL, gguf.Q5_0, gguf.Q5_1}

// Memory is what it takes to run a model beside its weights, in bytes.
type Memory struct {
	Cache   int64 // keys and values of all layers
	Compute int64 // an upper estimate of llama.cpp's compute buffers
}

// Bytes returns all of it.
func (m Memory) Bytes() int64 { return m.Cache + m.Compute }

// microbatch is how many tokens llama.cpp computes together by default (-ub).
const microbatch = 512

// NewMemory returns what llama.cpp takes to run a model in a setting. An error says what
// llama.cpp would refuse.
//
// Keys and values are exact: of all tokens, or of those in a window and a micro-batch. The compute buffers are those of the u tokens of a
// micro-batch, 512 or the whole context, in float32: the larger of two stages, which are
// not there at the same time, and the mask beside it.
//
//   - The networks: three products of the feed-forward networks (3 x hidden x u, of all
//     experts of a token) or the logits (vocabulary x u), with six activations of
//     the stream (width x u).
//   - The attention: three activations of the stream, three of all heads, keys
//     and values, and without flash attention the scores (heads x context x u), with it
//     keys and values of a layer in F16 if the cache has F32.
//
// Several streams (Gemma 3n) add the others twice to both, and are a stage of their own, six activations of all. What layers add for a
// token (Gemma 3n and 4) is there from the start, for all of them at once, and is four times as much while it is made.
//
// The mask is context x u, in F16 with flash attention; windows have one of their own, and an indexer takes as much as three. This is never below what llama.cpp
// 0.7 reserves on the CPU, and mostly a few percent above it: see docs/choosing.md.
func NewMemory(s *graph.Spec, o Setting) (Memory, error) {
	if err := o.check(s); err != nil {
		return Memory{}, err
	}
	const float = 4.0
	n := padded(o.Context)
	u := float * min(float64(o.Context), microbatch)
	var cache float64
	masks := map[int]float64{} // rows of the masks, by window
	var hidden, heads, kv, scores, perLayer int
	for m := range s.Mixers {
		state := m.State()
		rows := n
		if state.Window > 0 {
			rows = min(n, padded(state.Window+microbatch))
		}
		cache += float64(state.RowBytes(o.Keys, o.Values))*rows + 4*float64(state.Recurrent)
		if state.Heads > 0 {
			masks[state.Window] = rows
		}
		if p, ok := m.(graph.PerLayer); ok {
			perLayer += p.Width
		}
		size := m.Size()
		if size.Scores == 0 {
			hidden = max(hidden, size.Inner)
			continue
		}
		heads, kv, scores = max(heads, size.Inner), max(kv, size.Keys), max(scores, size.Scores)
	}
	width, stream := float64(s.Width), float64(s.Stream())
	kept := 2*(stream-width) + float64(perLayer)
	networks := u * max(3*float64(hidden)+6*width+kept, float64(s.Vocabulary)+6*width, 6*stream)
	attention := u * (3*width + 3*float64(heads) + 2*float64(kv) + kept)
	start := u * (4*float64(perLayer) + 6*width)
	var mask float64
	for _, rows := range masks {
		mask += u * rows
	}
	if s.Size().Chosen > 0 {
		mask += 3 * u * n
	}
	if o.FlashAttention {
		mask /= 2
		for _, t := range []gguf.Type{o.Keys, o.Values} {
			if t == gguf.F32 {
				attention += 2 * float64(kv) * n
			}
		}
	} else {
		networks += u * 2 * float64(kv)
		attention += u * float64(scores) * n
	}
	inputs := float64(192<<10 + len(masks)*64<<10) // positions and the like
	return Memory{
		Cache:   whole(cache),
		Compute: whole(max(networks, attention, start) + mask + inputs),
	}, nil
}

// Flags are those of llama.cpp that run a model so.
func (o Setting) Flags() string {
	flags := fmt.Sprintf("-c %d", o.Context)
	if !o.FlashAttention {
		flags += " -fa off"
	}
	if o.Keys != gguf.F16 {
		flags += " -ctk " + strings.ToLower(o.Keys.String())
	}
	if o.Values != gguf.F16 {
		flags += " -ctv " + strings.ToLower(o.Values.String())
	}
	return flags
}

// check returns an error if llama.cpp cannot run a model so.
func (o Setting) check(s *graph.Spec) error {
	for m := range s.Mixers {
		if err := o.checkState(m.State()); err != nil {
			return err
		}
	}
	if o.Values.Quantized() && !o.FlashAttention {
		return fmt.Errorf("values can be kept in %s only with flash attention", o.Values)
	}
	return nil
}

func (o Setting) checkState(s graph.State) error {
	for _, part := range []struct {
		what   string
		length int
		t      gguf.Type
	}{{"keys", s.KeyLen, o.Keys}, {"values", s.ValueLen, o.Values}, {"keys of an indexer", s.IndexLen, o.Keys}} {
		if !slices.Contains(CacheTypes, part.t) {
			var names []string
			for _, t := range CacheTypes {
				names = append(names, t.String())
			}
			return fmt.Errorf("%s cannot be kept in %s, only in %s", part.what, part.t, strings.Join(names, ", "))
		}
		if part.length%part.t.BlockSize() != 0 {
			return fmt.Errorf("%s of %d elements cannot be kept in %s, whose blocks have %d", part.what, part.length, part.t, part.t.BlockSize())
		}
	}
	return nil
}

// padded returns the tokens of a cache as llama.cpp rounds them up.
func padded(tokens int) float64 { return 256 * float64((max(int64(tokens), 1)-1)/256+1) }

// whole returns bytes as an integer, of which several can be added.
func whole(bytes float64) int64 { return int64(min(bytes, 1<<60)) }
