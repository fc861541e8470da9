package drift

import (
	"fmt"
	"math"
)

// reference is what the base makes of one token of a text.
type reference struct {
	softmax
	nll float64 // negative log-likelihood of the token, in nats
}

// softmax is a distribution over the tokens of a vocabulary, but for its
// logits.
type softmax struct {
	top     int     // the most likely token, of equals the one with the lower id
	highest float64 // its logit
	sum     float64 // of exp(logit - highest) over all tokens
}

// nonFinite are the exponent bits of a float32; all are set in NaN and
// infinities only.
const nonFinite = 0x7F80_0000

// newSoftmax returns the distribution of the logits.
func newSoftmax(logits []float32) (s softmax, err error) {
	for i, v := range logits {
		if math.Float32bits(v)&nonFinite == nonFinite {
			return s, fmt.Errorf("the logit of token %d is %v", i, v)
		}
		if v > logits[s.top] {
			s.top = i
		}
	}
	s.highest = float64(logits[s.top])
	for _, v := range logits {
		s.sum += math.Exp(float64(v) - s.highest)
	}
	return s, nil
}

// logTotal returns the logarithm of the sum of exp(logit).
func (s softmax) logTotal() float64 { return s.highest + math.Log(s.sum) }

// newReference scores a token given the base's logits.
func newReference(logits []float32, next int32) (r reference, err error) {
	r.softmax, err = newSoftmax(logits)
	r.nll = r.logTotal() - float64(logits[next])
	return r, err
}

// compare scores a token given the logits of a model, beside the base's.
//
// With p = exp(b - B) and q = exp(l - L), where B and L are the logarithms of the
// totals, the divergence Σ p·(log p - log q) is Σ p·(b - l) - (B - L): exactly 0
// if the logits are equal.
func compare(base []float32, r reference, logits []float32, next int32) (token, error) {
	s, err := newSoftmax(logits)
	if err != nil {
		return token{}, err
	}
	var difference float64
	for i, b := range base {
		d := float64(b) - float64(logits[i])
		difference += float64(math.Exp(float64(b)-r.highest) * d) // not fused, to be the same everywhere
	}
	nll := s.logTotal() - float64(logits[next])
	return token{
		nll:     nll,
		kld:     difference/r.sum - (r.logTotal() - s.logTotal()),
		deltaP:  math.Exp(-nll) - math.Exp(-r.nll),
		sameTop: s.top == r.top,
	}, nil
}
