package graph

import (
	"context"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
)

// Spec is what a model computes, but for the values of its weights. Tags name the
// keys of the metadata, under the architecture's prefix.
type Spec struct {
	Architecture   string
	Vocabulary     int // token ids, and logits of a position
	Width          int `key:"embedding_length"` // of the residual stream, or of each of several
	AltUp          AltUp
	EmbeddingScale float32 // factor of the embeddings; 0: none
	Positions      int     `key:"context_length"`   // for so many there are embeddings, position_embd, that are added; 0: for none
	TokenTypes     int     `key:"token_type_count"` // of so many, token_types, the first is added to all; 0: there are none
	EmbeddingNorm  Norm    // of what enters the first layer
	Layers         []Layer `key:"block_count"`
	OutputNorm     Norm
	NextN          int     `key:"nextn_predict_layers"` // so many layers after the last are for speculative decoding: not used
	Encoder        bool    // what comes out of the last layer is all: there are no logits
	LogitScale     float32 `key:"logit_scale"`             // factor of the logits; 0: none
	LogitCap       float32 `key:"final_logit_softcapping"` // c·tanh(x/c) of the logits; 0: none
}

// Layer is the sub-layers that the residual stream passes in turn.
type Layer []Sublayer

// Sublayer is some mixers that see the same, and whose results are added up.
type Sublayer struct {
	Norm      Norm // of what the mixers see
	Mixers    []Mixer
	PostNorm  Norm    // of their sum
	Scale     float32 // factor of what is added to the residual stream; 0: none
	EndNorm   Norm    // of the stream after that
	EndFactor float32 // that the stream is multiplied with in the end; 0: none
	EndScale  string  // of a tensor that has another such factor; "": none
}

// Mixer turns rows, one for each token, into what a sub-layer adds. It is a
// comparable struct of hyper-parameters.
type Mixer interface {
	// Bind finds the tensors of the mixer.
	Bind(b *Binder) Op
	// Size returns what it takes to run.
	Size() Size
	// State returns what it keeps of a text.
	State() State
}

// Op is a mixer with its weights.
type Op interface {
	// Weights lists the large matrices that Run multiplies with.
	Weights() []*Matrix
	// Run adds its result for x to out; both are tokens x width. What is added is the residual
	// stream itself where nothing stands between, so out may hold anything, but it is never x.
	Run(ctx context.Context, e Engine, out, x []float32) error
}

// Size is what a mixer takes to run beside its weights and state, in floats.
type Size struct {
	Scratch int // what Run takes of scratch for each token of a block
	Whole   int // the same for each of all tokens, if Run does not see them in blocks
	Network int // what the Engine takes for each token of a block on its way through a network
	Inner   int // its widest activation of a token: all heads, or the networks that a token goes through
	Keys    int // the keys or the values of a token, whichever are wider
	Head    int // a key and a value of one head, which a thread holds for each token of a text
	Scores  int // numbers for each token that a token sees: one a head
	Kept    int // what each token keeps for mixers of other layers
	Chosen  int // positions that an indexer chooses of those a token sees, which are kept until the next one chooses
	// Recurrent is what a thread holds of a recurrence: what is remembered of a part, and its work.
	Recurrent int
}

// State is what a mixer keeps of a text for the tokens that follow: the KV cache of
// attention, or what a recurrence remembers. The zero value is nothing.
type State struct {
	Heads            int // for each of them
	KeyLen, ValueLen int // a row of so many elements, for each token
	IndexLen         int // the key of an indexer, as long, for each token
	Window           int // of the last so many tokens; 0: of all
	Recurrent        int // numbers, however many tokens there are
}

// Rows returns of how many tokens of a context rows are kept.
func (s State) Rows(context int) int {
	if s.Window == 0 {
		return context
	}
	return min(context, s.Window)
}

// RowBytes returns what a token takes with keys and values of some types. The keys of an indexer are as the others.
func (s State) RowBytes(keys, values gguf.Type) int64 {
	return keys.RowBytes(int64(s.Heads*s.KeyLen)) + values.RowBytes(int64(s.Heads*s.ValueLen)) + keys.RowBytes(int64(s.IndexLen))
}

// Mixers yields all mixers of a model in their order.
func (s *Spec) Mixers(yield func(Mixer) bool) {
	for _, layer := range s.Layers {
		for _, sub := range layer {
			for _, m := range sub.Mixers {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// NoLogits is the error of asking an encoder for logits.
func (s *Spec) NoLogits() error {
	return fmt.Errorf("%w: a %s model is an encoder, which predicts no tokens", gguf.ErrUnsupported, s.Architecture)
}

// Stream returns how many elements the residual stream of a token has: all streams, if there are several.
func (s *Spec) Stream() int { return max(1, s.AltUp.Streams) * s.Width }

// Size returns what the mixers take at most, each figure for itself, but all that they keep.
func (s *Spec) Size() Size {
	var size Size
	if s.AltUp.Streams > 0 {
		size.Scratch = s.AltUp.Streams + s.Stream()
	}
	for m := range s.Mixers {
		next := m.Size()
		size.Scratch = max(size.Scratch, next.Scratch)
		size.Whole = max(size.Whole, next.Whole)
		size.Network = max(size.Network, next.Network)
		size.Inner = max(size.Inner, next.Inner)
		size.Keys = max(size.Keys, next.Keys)
		size.Head = max(size.Head, next.Head)
		size.Scores = max(size.Scores, next.Scores)
		size.Kept += next.Kept
		size.Chosen = max(size.Chosen, next.Chosen)
		size.Recurrent = max(size.Recurrent, next.Recurrent)
	}
	return size
}

// branches reports whether what the sub-layer computes is held apart from the residual
// stream: because something stands between, or because the mixers see the stream itself.
func (s Sublayer) branches() bool {
	return s.Norm == Norm{} || s.PostNorm != Norm{} || s.Scale != 0
}

// Branches reports whether any sub-layer needs Engine.Branch.
func (s *Spec) Branches() bool {
	if s.AltUp.Streams > 0 {
		return true
	}
	for _, layer := range s.Layers {
		for _, sub := range layer {
			if sub.branches() {
				return true
			}
		}
	}
	return false
}

// Aside reports whether any mixer needs Engine.Aside.
func (s *Spec) Aside() bool {
	for m := range s.Mixers {
		switch m := m.(type) {
		case Normed:
			if m.PostNorm != (Norm{}) {
				return true
			}
		case Laurel:
			return true
		}
	}
	return false
}
