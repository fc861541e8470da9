package eval

import (
	"strings"

	"github.com/ggufkit/ggufkit/infer/score"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// prompt returns a request to continue a text, up to where the profile's harness stops.
func (e *encoder) prompt(r *encoded, g *generation) score.Prompt {
	p := score.Prompt{Tokens: r.prompt, Most: r.most}
	if e.profile.endsByToken {
		end := e.vocab.EOS()
		if len(g.stops) > 0 {
			end = e.plain(g.stops[0])[0]
		}
		p.Ended = func(tokens []int32) bool { return tokens[len(tokens)-1] == end }
		return p
	}
	type stop struct {
		text string
		back int // tokens that it is looked for in
	}
	var stops []stop
	for _, s := range e.stops(g) {
		back := len(e.plain(s))
		if !e.profile.old {
			back += 2
		}
		stops = append(stops, stop{s, back})
	}
	p.Ended = func(tokens []int32) bool {
		if tokens[len(tokens)-1] == e.vocab.EOS() {
			return true
		}
		for _, s := range stops {
			if strings.Contains(e.vocab.Decode(tokens[max(0, len(tokens)-s.back):]), s.text) {
				return true
			}
		}
		return false
	}
	return p
}

// stops lists the texts that end what is generated.
func (e *encoder) stops(g *generation) []string {
	if e.profile.old || e.vocab.EOS() < 0 {
		return g.stops
	}
	return append(append([]string{}, g.stops...), e.vocab.Piece(e.vocab.EOS()))
}

func (e *encoder) plain(text string) []int32 {
	return e.vocab.Encode(text, tokenizer.Options{ParseSpecial: true})
}

// text returns what counts of generated tokens.
func (e *encoder) text(tokens []int32, r *encoded, g *generation) string {
	text := e.vocab.Decode(tokens[min(r.lost, len(tokens)):])
	for _, s := range e.stops(g) {
		text = cut(text, s)
	}
	return text
}
