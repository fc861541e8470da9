// Package routing counts how the routers of a mixture of experts spread a text.
//
//	var tally routing.Tally
//	model, err := infer.New(src, infer.Options{Router: tally.Add})
//	if err != nil {
//		return err
//	}
//	err = model.Forward(ctx, infer.Chunks(texts, 0), visit)
//	for _, layer := range tally.Layers() {
//		fmt.Println(layer.Layer, layer.Share(0), layer.Entropy)
//	}
package routing

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/infer"
)

// Layer is how the router of one layer spread a text.
type Layer struct {
	Layer  int
	Tokens int64
	// Chosen has for each expert the tokens it was given to. They add up to
	// Tokens times the experts per token.
	Chosen []int64
	// Entropy is the mean over the tokens of the entropy of the router's
	// probabilities, in bits: 0 where it is always certain, the logarithm of the
	// number of experts where it never has a preference.
	Entropy float64
}

// Share returns the part of the tokens that an expert was given.
func (l Layer) Share(expert int) float64 {
	return float64(l.Chosen[expert]) / float64(max(1, l.Tokens))
}

// Tally adds up what routers do. The zero value is empty.
type Tally struct{ layers []Layer }

// Add adds what a router did with some tokens. It can be infer.Options.Router.
func (t *Tally) Add(r infer.Routing) {
	l := t.layer(r.Layer, r.Experts)
	l.Tokens += int64(r.Tokens)
	for _, expert := range r.Chosen {
		l.Chosen[expert]++
	}
	for logits := range slices.Chunk(r.Logits, r.Experts) {
		l.Entropy += entropy(logits) // a sum until Layers divides it
	}
}

// AddTally adds what routers did with other tokens.
func (t *Tally) AddTally(other *Tally) error {
	for _, from := range other.layers {
		l := t.layer(from.Layer, len(from.Chosen))
		if len(l.Chosen) != len(from.Chosen) {
			return fmt.Errorf("layer %d has %d experts, not %d as before", from.Layer, len(from.Chosen), len(l.Chosen))
		}
		l.Tokens += from.Tokens
		for i, n := range from.Chosen {
			l.Chosen[i] += n
		}
		l.Entropy += from.Entropy
	}
	return nil
}

// layer returns what is known of a layer of so many experts.
func (t *Tally) layer(number, experts int) *Layer {
	at := slices.IndexFunc(t.layers, func(l Layer) bool { return l.Layer == number })
	if at < 0 {
		at = len(t.layers)
		t.layers = append(t.layers, Layer{Layer: number, Chosen: make([]int64, experts)})
	}
	return &t.layers[at]
}

// MarshalJSON implements json.Marshaler, for a tally to be continued elsewhere.
func (t *Tally) MarshalJSON() ([]byte, error) { return json.Marshal(t.layers) }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Tally) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &t.layers) }

// Layers returns the layers with experts, from the first to the last.
func (t *Tally) Layers() []Layer {
	layers := slices.Clone(t.layers)
	slices.SortFunc(layers, func(a, b Layer) int { return a.Layer - b.Layer })
	for i := range layers {
		layers[i].Entropy /= float64(max(1, layers[i].Tokens))
	}
	return layers
}

// entropy returns that of softmax(logits), in bits.
func entropy(logits []float32) float64 {
	highest := float64(slices.Max(logits))
	var sum, weighted float64
	for _, v := range logits {
		d := float64(v) - highest
		e := math.Exp(d)
		sum += e
		weighted += e * d
	}
	return (math.Log(sum) - weighted/sum) / math.Ln2
}
