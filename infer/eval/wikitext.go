package eval

import (
	"math"
	"regexp"
	"strings"
)

// wikiText is WikiText-2 (arXiv 1609.07843), whole pages, whose tokens are put together again.
func wikiText(p *Profile) []*Task {
	return []*Task{{
		Name: "wikitext", Version: p.version("1", "2.0"),
		Data:    DataSet{Folder: "wikitext", Hub: "EleutherAI/wikitext_document_level", Configuration: "wikitext-2-raw-v1"},
		Split:   "test",
		Metrics: perplexities(),
		render: reads(func(row struct {
			Page string `json:"page"`
		}) (*example, error) {
			return new(example).rolls(detokenized(row.Page), row.Page), nil
		}),
	}}
}

// perplexities are the figures of whole texts.
func perplexities() []*Measure {
	mean := func(sum, n float64) float64 { return math.Exp(-sum / n) }
	words, bytes := func(e *example) int { return e.words }, func(e *example) int { return e.bytes }
	return []*Measure{
		perplexity("word_perplexity", mean, words), perplexity("byte_perplexity", mean, bytes),
		perplexity("bits_per_byte", func(sum, n float64) float64 { return -sum / (n * math.Ln2) }, bytes),
	}
}

// perplexity makes a figure of the sum of logarithms and of the number of what they are of.
func perplexity(name string, finish func(logs, n float64) float64, n func(*example) int) *Measure {
	return &Measure{
		Name: name, LowerIsBetter: true,
		of: func(_ *example, o *outcome) float64 { return o.likelihoods[0] },
		total: func(sum float64, of []*example) float64 {
			all := 0
			for _, e := range of {
				all += n(e)
			}
			return finish(sum, float64(all))
		},
	}
}

var spaces = regexp.MustCompile(space + `+`)

// asPublished are what tokens of WikiText are replaced by, before and after what is in brackets and quotes.
var (
	separated = strings.Fields("s_' s' _@-@_ - _@,@_ , _@.@_ . _:_ :_ _;_ ;_ _._ ._ _!_ !_ _?_ ?_ _,_ ,_")
	enclosed  = []struct {
		pattern *regexp.Regexp
		by      string
	}{
		{regexp.MustCompile(`\(` + space + `*([^)]*?)` + space + `*\)`), "($1)"},
		{regexp.MustCompile(`\[` + space + `*([^\]]*?)` + space + `*\]`), "[$1]"},
		{regexp.MustCompile(`\{` + space + `*([^}]*?)` + space + `*\}`), "{$1}"},
		{regexp.MustCompile(`"` + space + `*([^"]*?)` + space + `*"`), `"$1"`},
		{regexp.MustCompile(`'` + space + `*([^']*?)` + space + `*'`), `'$1'`},
	}
	apart = []string{"=_=_=_=", "====", "=_=_=", "===", "=_=", "==", "_°_", "°", "_\n", "\n", "\n_", "\n", "_N_", "_1_", "_'s", "'s"}
)

func detokenized(page string) string {
	page = replaceEach(page, separated)
	for _, e := range enclosed {
		page = e.pattern.ReplaceAllString(page, e.by)
	}
	return replaceEach(page, apart)
}

// replaceEach replaces the first of each pair by the second, a pair after the other; _ is a space.
func replaceEach(s string, pairs []string) string {
	for i := 0; i < len(pairs); i += 2 {
		s = strings.ReplaceAll(s, strings.ReplaceAll(pairs[i], "_", " "), strings.ReplaceAll(pairs[i+1], "_", " "))
	}
	return s
}
