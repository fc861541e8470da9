package tokenizer_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// The algorithm in its plainest form: whole text at once, every special token
// looked for one after another, every pair looked at for every merge.

type reference struct{ vocabulary }

func (r reference) encode(text string, parse bool) []int32 {
	ids := []int32{}
	for _, part := range r.split(text, parse) {
		if part.id >= 0 {
			ids = append(ids, part.id)
		} else {
			ids = r.merge(ids, "▁"+strings.ReplaceAll(part.text, " ", "▁"))
		}
	}
	return ids
}

type part struct {
	text string
	id   int32 // of a special token, or -1
}

func (r reference) split(text string, parse bool) []part {
	var special []int32
	for id, typ := range r.Types {
		if typ == userDefined || parse && (typ == control || typ == unknown) {
			special = append(special, int32(id))
		}
	}
	slices.SortFunc(special, func(a, b int32) int { return len(r.Tokens[b]) - len(r.Tokens[a]) })
	parts := []part{{text, -1}}
	for len(special) > 0 { // tokens of one length together, the leftmost first
		length := len(r.Tokens[special[0]])
		n := 0
		for n < len(special) && len(r.Tokens[special[n]]) == length {
			n++
		}
		var next []part
		for _, p := range parts {
			if p.id >= 0 {
				next = append(next, p)
				continue
			}
			start := 0
			for i := 0; i+length <= len(p.text); i++ {
				k := slices.IndexFunc(special[:n], func(id int32) bool { return r.Tokens[id] == p.text[i:i+length] })
				if k >= 0 {
					next = append(next, part{p.text[start:i], -1}, part{"", special[k]})
					start = i + length
					i = start - 1
				}
			}
			next = append(next, part{p.text[start:], -1})
		}
		parts = next
		special = special[n:]
	}
	return slices.DeleteFunc(parts, func(p part) bool { return p.id < 0 && p.text == "" })
}

func (r reference) piece(text string) int32 {
	for id, token := range r.Tokens {
		if typ := r.Types[id]; token == text && (typ == normal || typ == userDefined || typ == unused) {
			return int32(id)
		}
	}
	return -1
}

func (r reference) merge(ids []int32, text string) []int32 {
	symbols := strings.Split(text, "")
	for {
		best := -1
		var bestScore float32
		for i := range len(symbols) - 1 {
			id := r.piece(symbols[i] + symbols[i+1])
			if id >= 0 && (best < 0 || r.Scores[id] > bestScore) {
				best, bestScore = i, r.Scores[id]
			}
		}
		if best < 0 {
			break
		}
		symbols = slices.Replace(symbols, best, best+2, symbols[best]+symbols[best+1])
	}
	hasBytes := slices.Contains(r.Types, byteToken)
	unknownBefore := false
	for _, s := range symbols {
		id := r.piece(s)
		switch {
		case id >= 0:
			ids = append(ids, id)
		case hasBytes:
			for _, b := range []byte(s) {
				ids = append(ids, 3+int32(b))
			}
		case !unknownBefore:
			ids = append(ids, 0)
		}
		unknownBefore = id < 0
	}
	return ids
}

func TestEncodeIsTheReference(t *testing.T) {
	letters := []string{"a", "b", "é", "語", "🙂"}
	rapid.Check(t, func(t *rapid.T) {
		v := withSpecial(rapid.Bool().Draw(t, "bytes"))
		draw := func(name string, alphabet []string, from, to, count int, typ ...int32) {
			pieces := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(alphabet), from, to), 0, count).Draw(t, name)
			for _, p := range pieces {
				if piece := strings.Join(p, ""); !slices.Contains(v.Tokens, piece) {
					score := rapid.IntRange(-4, 0).Draw(t, "score")
					v.add(piece, float32(score), rapid.SampledFrom(typ).Draw(t, "type"))
				}
			}
		}
		draw("characters", append(letters, "▁"), 1, 1, 4, normal)
		draw("in words", letters, 2, 5, 20, normal, unused)
		draw("words", append(letters, "▁"), 2, 4, rapid.SampledFrom([]int{0, 10}).Draw(t, "across words"), normal, unused)
		for _, p := range rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 4, rapid.ID[int]).Draw(t, "word starts") {
			piece := "▁" + []string{"a", "b", "ab", "▁", "▁▁", "語"}[p]
			if !slices.Contains(v.Tokens, piece) {
				v.add(piece, float32(-p), normal)
			}
		}
		draw("special", append(letters, " ", "<", ">"), 1, 5, 6, userDefined, control)

		tok := v.tokenizer(t)
		alphabet := append(letters, " ", " ", "▁", "<", ">", "z", "日", "<s>")
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(alphabet), 0, 40).Draw(t, "text"), "")
		for _, parse := range []bool{false, true} {
			require.Equal(t, reference{v}.encode(text, parse), encode(tok, text, tokenizer.Options{ParseSpecial: parse}))
		}
	})
}
