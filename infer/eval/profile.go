package eval

import (
	"fmt"
	"slices"
	"strings"
)

// Profile is a harness whose rules are followed: how it orders documents, draws shots, writes prompts, cuts what
// is too long, ends what it generates, and averages.
type Profile struct {
	Name string
	// Harness is the program and its commit.
	Harness string
	// Seed draws the shots; with old rules it also shuffles the documents before.
	Seed uint64
	// old are the rules of lm-evaluation-harness before 0.4: no BOS token, documents in random order, groups as
	// plain means.
	old bool
	// cutsAnswers is of the leaderboard's backend: if a prompt to continue was cut, as many tokens of the answer are lost.
	cutsAnswers bool
	// endsByToken is of the suite's backend: what is generated ends with the token of the first stop, or the end of
	// the text.
	endsByToken bool
	shots       map[string]int // of a task, by its folder of data; 0 of others
}

// Profiles are those that there are.
var Profiles = []*Profile{
	{
		Name: "openllm-v1", Harness: "lm-evaluation-harness b281b0921b63 (hf-causal-experimental)", Seed: 42, old: true, cutsAnswers: true,
		shots: map[string]int{"arc_challenge": 25, "hellaswag": 10, "mmlu": 5, "winogrande": 5, "gsm8k": 5},
	},
	{Name: "nous", Harness: "dmahan93/lm-evaluation-harness ca333d9 (hf-causal)", Seed: 42, old: true, endsByToken: true},
	{Name: "lm-eval-0.4", Harness: "lm-evaluation-harness 4e7e0d47f (0.4.13.dev0)", Seed: 1234, shots: map[string]int{"gsm8k": 5}},
}

// DefaultProfile returns that of today's harness.
func DefaultProfile() *Profile { return Profiles[len(Profiles)-1] }

// FindProfile returns the profile of a name.
func FindProfile(name string) (*Profile, error) {
	var names []string
	for _, p := range Profiles {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("there is no profile %q; profiles are %s", name, strings.Join(names, ", "))
}

// version returns the version of a task by the rules of either harness.
func (p *Profile) version(old, now string) string {
	if p.old {
		return old
	}
	return now
}

// Tasks lists what a profile can do, by name.
func (p *Profile) Tasks() []*Task {
	var all []*Task
	for _, family := range families {
		all = append(all, family(p)...)
	}
	for _, t := range all {
		t.Shots = p.shots[strings.Split(t.Data.Folder, "/")[0]]
	}
	slices.SortFunc(all, func(a, b *Task) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// families are the kinds of tasks.
var families = []func(p *Profile) []*Task{
	arc, hellaswag, mmlu, truthfulQA, winogrande, gsm8k, boolQ, piqa, openBookQA, agiEval, bigBench, wikiText,
}
