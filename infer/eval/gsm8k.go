package eval

import (
	"regexp"
	"strings"

	"github.com/dlclark/regexp2/v2"
)

// gsm8k is GSM8K (arXiv 2110.14168): the number that a worked answer ends with.
func gsm8k(p *Profile) []*Task {
	t := &Task{
		Name: "gsm8k", Groups: []string{"openllm"}, Version: p.version("0", "3.0"),
		Data:  DataSet{Folder: "gsm8k", Hub: "openai/gsm8k", Configuration: "main"},
		Split: "test", ShotSplit: "train",
	}
	stops := []string{"Question:", "</s>", "<|im_end|>"}
	if p.old {
		stops = []string{":", "Question:", "Question"}
		t.Metrics = []*Measure{{Name: "acc", of: func(e *example, o *outcome) float64 {
			answer := oldNumber(o.text)
			return share(answer != noNumber && answer == oldNumber(e.generate.want))
		}}}
	} else {
		t.Metrics = []*Measure{exactNumber("strict-match", strictNumber), exactNumber("flexible-extract", flexibleNumber)}
	}
	t.render = reads(func(row struct {
		Question string `json:"question"`
		Answer   string `json:"answer"`
	}) (*example, error) {
		return &example{
			context: "Question: " + row.Question + "\nAnswer:", delimiter: " ", answer: row.Answer,
			generate: &generation{stops: stops, want: row.Answer},
		}, nil
	})
	return []*Task{t}
}

// noNumber is what is extracted from a text that has no number.
const noNumber = "[invalid]"

var (
	markedNumber = regexp2.MustCompile(`#### (-?[0-9.,]+)`)
	anyNumber    = regexp2.MustCompile(`(-?[$0-9.,]{2,})|(-?[0-9]+)`)
	upToMark     = regexp.MustCompile(`(?s).*#### `)
)

func strictNumber(text string) string { return find(markedNumber, text, false, noNumber) }

func flexibleNumber(text string) string { return find(anyNumber, text, true, noNumber) }

func oldNumber(text string) string { return strings.ReplaceAll(strictNumber(text), ",", "") }

// exactNumber compares what a filter extracts with the answer, without signs that do not matter.
func exactNumber(filter string, extract func(string) string) *Measure {
	plain := func(s string) string {
		s = strings.NewReplacer(",", "", "$", "").Replace(s)
		return strings.ToLower(strings.TrimSuffix(upToMark.ReplaceAllString(s, ""), "."))
	}
	return &Measure{Name: "exact_match", Filter: filter, extract: extract, of: func(e *example, o *outcome) float64 {
		return share(plain(extract(o.text)) == plain(e.generate.want))
	}}
}
