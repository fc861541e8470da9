package drift

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
)

// open looks at what is kept already, if results are kept.
func (r *runner) open(ctx context.Context) (err error) {
	if r.opts.Results == nil {
		return nil
	}
	var windows []perplexity.Window
	counts := make([]int, len(r.texts))
	for i := range r.texts {
		for _, p := range r.parts {
			if p.text == i {
				windows = append(windows, p.Window)
				counts[i]++
			}
		}
	}
	if r.store, err = r.opts.Results.Open(ctx, r.what, len(r.parts), perplexity.WindowFacts(windows, counts)...); err == nil {
		r.running = r.store.Missing()
	}
	return err
}

// toRun returns how many parts are run at most.
func (r *runner) toRun() int {
	if r.store != nil {
		return len(r.running)
	}
	return len(r.parts)
}

// keep runs the parts that are missing in the store, keeps what is known of each when its batch is done, and takes over
// all that is there.
func (r *runner) keep(ctx context.Context, engines []*infer.Model) (err error) {
	store := r.store
	defer func() { err = errors.Join(err, store.Close()) }()
	if len(r.running) > 0 {
		err := r.runParts(ctx, engines, func(parts []int, elapsed []time.Duration) error {
			var records []results.Record
			for _, p := range parts {
				cost := results.Cost{Took: make([]time.Duration, len(r.models))}
				for i, took := range elapsed {
					cost.Took[i] = took / time.Duration(len(parts))
				}
				records = append(records, results.Record{Unit: p, Data: r.appendPart(nil, p), Cost: cost})
			}
			return store.Keep(records...)
		})
		if err != nil {
			return err
		}
	}
	var cost results.Cost
	err = store.ReadAll(func(p int, data []byte, took results.Cost) error {
		cost.Add(took)
		return r.readPart(data, p)
	})
	if err != nil {
		return err
	}
	for i, t := range r.tallies {
		t.elapsed = 0
		if i < len(cost.Took) {
			t.elapsed = cost.Took[i]
		}
	}
	r.done = len(r.parts)
	return nil
}

// appendPart appends what is known of a part, all numbers little-endian: the numbers of models, scored tokens, streams and routers,
// 32 bits each. Then for each model, the likelihoods of all scored tokens, their divergences, and the changes of their probabilities, 64-bit floats;
// for each a byte, 1 if the top tokens are the same; for each stream the sum of squared errors, a 64-bit float; for each router its tokens, those
// with the same experts and with the same first one, 64-bit integers.
func (r *runner) appendPart(b []byte, p int) []byte {
	first := r.tallies[0].parts[p]
	scored := r.starts[p+1] - r.starts[p]
	for _, n := range []int{len(r.tallies), scored, len(first.hidden), len(first.routed)} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	for _, t := range r.tallies {
		tokens := t.tokens[r.starts[p]:][:scored]
		for _, of := range tokenFloats {
			for i := range tokens {
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(*of(&tokens[i])))
			}
		}
		for _, token := range tokens {
			same := byte(0)
			if token.sameTop {
				same = 1
			}
			b = append(b, same)
		}
		sums := &t.parts[p]
		for i := range first.hidden {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(*at(&sums.hidden, i)))
		}
		for _, of := range sums.counts() {
			for i := range first.routed {
				b = binary.LittleEndian.AppendUint64(b, uint64(*at(of, i)))
			}
		}
	}
	return b
}

// tokenFloats are the figures of a token that are floats.
var tokenFloats = []func(*token) *float64{
	func(t *token) *float64 { return &t.nll },
	func(t *token) *float64 { return &t.kld },
	func(t *token) *float64 { return &t.deltaP },
}

// counts are the sums that are integers, each of one router after the other.
func (s *layerSums) counts() []*[]int64 { return []*[]int64{&s.routed, &s.experts, &s.first} }

// readPart takes over what appendPart has made of a part.
func (r *runner) readPart(b []byte, p int) error {
	const head = 4 * 4
	scored := r.starts[p+1] - r.starts[p]
	if len(b) < head {
		return fmt.Errorf("%d bytes", len(b))
	}
	var n [4]int
	for i := range n {
		n[i] = int(binary.LittleEndian.Uint32(b[4*i:]))
	}
	b = b[head:]
	ofModel := int64(25*scored) + 8*int64(n[2]) + 24*int64(n[3])
	if n[0] != len(r.tallies) || n[1] != scored || int64(len(b))/int64(n[0]) != ofModel || int64(len(b))%int64(n[0]) != 0 {
		return fmt.Errorf("%d bytes of %d models and %d scored tokens, not %d and %d", len(b), n[0], n[1], len(r.tallies), scored)
	}
	next := func() uint64 {
		v := binary.LittleEndian.Uint64(b)
		b = b[8:]
		return v
	}
	for m, t := range r.tallies {
		tokens := t.tokens[r.starts[p]:][:scored]
		for _, of := range tokenFloats {
			for i := range tokens {
				*of(&tokens[i]) = math.Float64frombits(next())
			}
		}
		for i := range tokens {
			tokens[i].sameTop = b[i] == 1
		}
		b = b[scored:]
		sums := layerSums{tokens: int64(len(r.parts[p].Tokens)), hidden: make([]float64, n[2])}
		for i := range sums.hidden {
			sums.hidden[i] = math.Float64frombits(next())
		}
		for _, of := range sums.counts() {
			for i := range n[3] {
				*at(of, i) = int64(next())
			}
		}
		t.parts[p] = sums
		if m == 0 {
			for i, token := range tokens {
				r.base[r.starts[p]+i].nll = token.nll
			}
		}
	}
	return nil
}
