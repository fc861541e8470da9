package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/gguf"
)

// wordPiece is a vocabulary of BERT's: a text is normalized and cut at spaces and
// punctuation, and each word into the longest tokens that it begins with. Tokens that begin
// a word have a ▁ in front, others nothing.
type wordPiece struct {
	*Tokenizer
	starts, parts map[string]int32 // tokens that begin a word, and that go on with one
	longest       int              // bytes in the longest of them
	lowercase     bool
	stripAccents  bool
}

// maxWord is the number of characters from which on a word is unknown
// (max_input_chars_per_word of Hugging Face's tokenizers, which all of BERT's have).
const maxWord = 100

func newWordPiece(t *Tokenizer, meta *gguf.Metadata) (*wordPiece, error) {
	w := &wordPiece{Tokenizer: t, starts: make(map[string]int32), parts: make(map[string]int32)}
	var err error
	if w.lowercase, err = valueOr(meta, "tokenizer.ggml.normalizer.lowercase", true); err != nil {
		return nil, err
	}
	if w.stripAccents, err = valueOr(meta, "tokenizer.ggml.normalizer.strip_accents", w.lowercase); err != nil {
		return nil, err
	}
	if t.unk == none {
		return nil, fmt.Errorf("%w: tokenizer.ggml.unknown_token_id: none, which WordPiece needs", gguf.ErrCorrupt)
	}
	for i, piece := range t.pieces {
		if t.types[i] != gguf.TokenNormal && t.types[i] != gguf.TokenUnused {
			continue
		}
		text, starts := strings.CutPrefix(piece, space)
		if text == "" {
			continue
		}
		if starts {
			w.starts[text] = int32(i)
		} else {
			w.parts[text] = int32(i)
		}
		w.longest = max(w.longest, len(text))
	}
	return w, nil
}

func (w *wordPiece) spacePrefix() bool { return true }

func (w *wordPiece) appendBytes(dst []byte, id int32) []byte {
	if text, starts := strings.CutPrefix(w.pieces[id], space); starts {
		return append(append(dst, ' '), text...)
	}
	return append(dst, w.pieces[id]...)
}

func (w *wordPiece) encode(ids []int32, text string) []int32 {
	var word []byte // of what has been read
	flush := func() {
		if len(word) > 0 {
			ids = w.encodeWord(ids, string(word))
			word = word[:0]
		}
	}
	if w.stripAccents {
		text = norm.NFD.String(text)
	}
	for _, r := range text {
		switch {
		case isBertSpace(r):
			flush()
		case isBertControl(r), w.stripAccents && unicode.Is(unicode.Mn, r) && !unicode.Is(laterMarks, r):
		default:
			alone := isHan(r)
			for _, r := range w.lower(r) {
				if alone || pretoken.IsPunctuation(r) {
					flush()
					ids = w.encodeWord(ids, string(r))
				} else {
					word = utf8.AppendRune(word, r)
				}
			}
		}
	}
	flush()
	return ids
}

// lower returns a character as the vocabulary has it.
func (w *wordPiece) lower(r rune) []rune {
	switch {
	case !w.lowercase:
		return []rune{r}
	case r == 'İ': // the only one that becomes two
		return []rune{'i', '\u0307'}
	}
	return []rune{laterLower.ToLower(r)}
}

func (w *wordPiece) encodeWord(ids []int32, word string) []int32 {
	if utf8.RuneCountInString(word) > maxWord {
		return append(ids, w.unk)
	}
	before, pieces := len(ids), w.starts
	for word != "" {
		n := min(len(word), w.longest)
		for n > 0 {
			if id, ok := pieces[word[:n]]; ok {
				ids = append(ids, id)
				break
			}
			n--
		}
		if n == 0 {
			return append(ids[:before], w.unk)
		}
		word, pieces = word[n:], w.parts
	}
	return ids
}

// isBertSpace reports whether BERT's normalizer takes a character for a space.
func isBertSpace(r rune) bool { return unicode.IsSpace(r) && r != '\v' && r != '\f' && r != '\u0085' }

// isBertControl reports whether it leaves a character out.
func isBertControl(r rune) bool {
	return r == 0 || r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co) && !unicode.Is(laterFormat, r)
}

// isHan reports whether a character is one of those for which BERT's normalizer has ranges.
// (The fifth begins a little late, as it does there.)
func isHan(r rune) bool {
	return r >= 0x3400 && unicode.Is(hanRanges, r)
}

var hanRanges = &unicode.RangeTable{
	R16: []unicode.Range16{{0x3400, 0x4dbf, 1}, {0x4e00, 0x9fff, 1}, {0xf900, 0xfaff, 1}},
	R32: []unicode.Range32{{0x20000, 0x2a6df, 1}, {0x2a700, 0x2b81f, 1}, {0x2b920, 0x2ceaf, 1}, {0x2f800, 0x2fa1f, 1}},
}

// Hugging Face's normalizer knows the classes of Unicode 8: what follows came later, up to
// the version of Go's package unicode.
var (
	laterFormat = &unicode.RangeTable{
		R16: []unicode.Range16{{0x890, 0x891, 1}, {0x8e2, 0x8e2, 1}},
		R32: []unicode.Range32{{0x110cd, 0x110cd, 1}, {0x13430, 0x1343f, 1}},
	}
	laterMarks = &unicode.RangeTable{
		R16: []unicode.Range16{
			{0x7fd, 0x7fd, 1}, {0x898, 0x89f, 1}, {0x8ca, 0x8e1, 1}, {0x9fe, 0x9fe, 1}, {0xafa, 0xaff, 1}, {0xb55, 0xb55, 1}, {0xc04, 0xc04, 1},
			{0xc3c, 0xc3c, 1}, {0xd00, 0xd00, 1}, {0xd3b, 0xd3c, 1}, {0xd81, 0xd81, 1}, {0xeba, 0xeba, 1}, {0xece, 0xece, 1}, {0x180f, 0x180f, 1},
			{0x1885, 0x1886, 1}, {0x1abf, 0x1ace, 1}, {0x1df6, 0x1dfb, 1}, {0xa82c, 0xa82c, 1}, {0xa8c5, 0xa8c5, 1}, {0xa8ff, 0xa8ff, 1}, {0xa9bd, 0xa9bd, 1},
		},
		R32: []unicode.Range32{
			{0x10d24, 0x10d27, 1}, {0x10eab, 0x10eac, 1}, {0x10efd, 0x10eff, 1}, {0x10f46, 0x10f50, 1}, {0x10f82, 0x10f85, 1}, {0x11070, 0x11070, 1},
			{0x11073, 0x11074, 1}, {0x110c2, 0x110c2, 1}, {0x111c9, 0x111c9, 1}, {0x111cf, 0x111cf, 1}, {0x1123e, 0x1123e, 1}, {0x11241, 0x11241, 1},
			{0x1133b, 0x1133b, 1}, {0x11438, 0x1143f, 1}, {0x11442, 0x11444, 1}, {0x11446, 0x11446, 1}, {0x1145e, 0x1145e, 1}, {0x1182f, 0x11837, 1},
			{0x11839, 0x1183a, 1}, {0x1193b, 0x1193c, 1}, {0x1193e, 0x1193e, 1}, {0x11943, 0x11943, 1}, {0x119d4, 0x119d7, 1}, {0x119da, 0x119db, 1},
			{0x119e0, 0x119e0, 1}, {0x11a01, 0x11a0a, 1}, {0x11a33, 0x11a38, 1}, {0x11a3b, 0x11a3e, 1}, {0x11a47, 0x11a47, 1}, {0x11a51, 0x11a56, 1},
			{0x11a59, 0x11a5b, 1}, {0x11a8a, 0x11a96, 1}, {0x11a98, 0x11a99, 1}, {0x11c30, 0x11c36, 1}, {0x11c38, 0x11c3d, 1}, {0x11c3f, 0x11c3f, 1},
			{0x11c92, 0x11ca7, 1}, {0x11caa, 0x11cb0, 1}, {0x11cb2, 0x11cb3, 1}, {0x11cb5, 0x11cb6, 1}, {0x11d31, 0x11d36, 1}, {0x11d3a, 0x11d3a, 1},
			{0x11d3c, 0x11d3d, 1}, {0x11d3f, 0x11d45, 1}, {0x11d47, 0x11d47, 1}, {0x11d90, 0x11d91, 1}, {0x11d95, 0x11d95, 1}, {0x11d97, 0x11d97, 1},
			{0x11ef3, 0x11ef4, 1}, {0x11f00, 0x11f01, 1}, {0x11f36, 0x11f3a, 1}, {0x11f40, 0x11f40, 1}, {0x11f42, 0x11f42, 1}, {0x13440, 0x13440, 1},
			{0x13447, 0x13455, 1}, {0x16f4f, 0x16f4f, 1}, {0x16fe4, 0x16fe4, 1}, {0x1cf00, 0x1cf2d, 1}, {0x1cf30, 0x1cf46, 1}, {0x1e000, 0x1e006, 1},
			{0x1e008, 0x1e018, 1}, {0x1e01b, 0x1e021, 1}, {0x1e023, 0x1e024, 1}, {0x1e026, 0x1e02a, 1}, {0x1e08f, 0x1e08f, 1}, {0x1e130, 0x1e136, 1},
			{0x1e2ae, 0x1e2ae, 1}, {0x1e2ec, 0x1e2ef, 1}, {0x1e4ec, 0x1e4ef, 1}, {0x1e944, 0x1e94a, 1},
		},
	}
	// laterLower are lower cases of Unicode 17, which its normalizer does know.
	laterLower = unicode.SpecialCase{
		caseRange(0x1c89, 0x1c89, 1), caseRange(0xa7cb, 0xa7cb, 0x264-0xa7cb), caseRange(0xa7cc, 0xa7cc, 1), caseRange(0xa7ce, 0xa7ce, 1),
		caseRange(0xa7d2, 0xa7d2, 1), caseRange(0xa7d4, 0xa7d4, 1), caseRange(0xa7da, 0xa7da, 1), caseRange(0xa7dc, 0xa7dc, 0x19b-0xa7dc),
		caseRange(0x10d50, 0x10d65, 0x20), caseRange(0x16ea0, 0x16eb8, 0x1b),
	}
)

// caseRange are capitals whose lower case is at the given distance.
func caseRange(first, last uint32, lower rune) unicode.CaseRange {
	return unicode.CaseRange{Lo: first, Hi: last, Delta: [unicode.MaxCase]rune{unicode.LowerCase: lower}}
}
