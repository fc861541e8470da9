package pretoken

import "errors"

// errSteps means that expressions take too long.
var errSteps = errors.New("expressions that take too long")

// probe has what pre-tokenizers tell apart, in many scripts.
const probe = "The quick brown fox's 3 cats, 'n they'LL've I'm WE'RE don't 12 345 6789 1234567 3.14 x2y CamelCaseHTTPServer snake_case ÉCOLE naïve\n" +
	"  if (x != 10) {\r\n\t\treturn a[i] += b/c; // why?\n    }\n\n\n   \n https://example.org/a?b=c&d=1%20 <tag attr=\"v\"/> $9.99 50% #1 @me ~^|`\n" +
	"Съешь же ещё 5 этих булок. Ελληνικά Άλφα 2. ԲԱՐԵՎ ქართული Čeština žluťoučký ǅ Ⅷ ½ ² x³ e\u0301a\u0308\n" +
	"中文测试，你好。１２３ 4个。日本語テスト「ひらがな」カタカナー 한국어 시험 ㄱㅏ 가나다 12월 ภาษาไทย ๑๒๓ ພາສາ ភាសា မြန်မာ\n" +
	"हिन्दी १२३४ क्षत्रिय। বাংলা தமிழ் తెలుగు العربية ١٢٣، السلام؟ עברית שָׁלוֹם فارسی አማርኛ ᏣᎳᎩ\n" +
	"😀👨\u200d👩\u200d👧 ☃️ → ∑x² ≤ ∞ … — “q” ‘r’ «s» ¿qué? ¡no! a\u00a0b\u3000c\u2028d\u200be    end  \t "

// Step is an expression with the edges of its matches at which text is cut.
type Step struct {
	Expression string
	Edges      Edges
}

// Nearest returns the pre-tokenizer whose words of a probing text are most like those that the given
// steps cut, before and after bytes are spelled, the part of the places where either cuts at which both do
// (1 where all words are equal), and the first word that the steps cut otherwise, with what the pre-tokenizer
// has there. Its error says what cannot be run.
func Nearest(steps, spelled []Step) (p *PreTokenizer, alike float64, word, other string, err error) {
	given, err := newSplitter(steps, spelled)
	if err != nil {
		return nil, 0, "", "", err
	}
	const most = 1 << 22
	want := cuts(func(visit func(string)) {
		if !given.split(probe, most, visit) {
			err = errSteps
		}
	})
	if err != nil {
		return nil, 0, "", "", err
	}
	var best map[int]int
	for _, known := range table {
		have := cuts(func(visit func(string)) { known.Split(probe, visit) })
		both := 0
		for start := range have {
			if _, ok := want[start]; ok {
				both++
			}
		}
		if share := float64(both) / float64(len(have)+len(want)-both); p == nil || share > alike {
			p, alike, best = known, share, have
		}
	}
	for start := 0; start < len(probe); start = want[start] {
		if end := best[start]; end != want[start] {
			return p, alike, probe[start:want[start]], probe[start:end], nil
		}
	}
	return p, alike, "", "", nil
}

// cuts returns the ends of the words of the probing text by their starts.
func cuts(split func(visit func(string))) map[int]int {
	words := make(map[int]int)
	at := 0
	split(func(word string) {
		words[at] = at + len(word)
		at += len(word)
	})
	return words
}
