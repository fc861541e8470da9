package eval

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// scoring is what the harness' own functions make of texts: see testdata/README.md.
type scoring struct {
	GSM8K []struct {
		Text          string    `json:"text"`
		Answer        string    `json:"answer"` // by old rules
		Right         []bool    `json:"right"`
		Strict        string    `json:"strict"`
		Flexible      string    `json:"flexible"`
		StrictMatch   []float64 `json:"strict_match"`
		FlexibleMatch []float64 `json:"flexible_match"`
	} `json:"gsm8k"`
	Gold       []string                     `json:"gold"`
	Capitalize []struct{ Text, Out string } `json:"capitalize"`
	Hellaswag  []struct{ Text, Out string } `json:"hellaswag"`
	Output     []struct{ Text, Out string } `json:"bigbench_output"`
	Argmax     []struct {
		LL   []float64 `json:"ll"`
		Pick int       `json:"pick"`
	} `json:"bigbench_argmax"`
	Wikitext []struct {
		Text, Out string
		Sizes     [2]int `json:"words_bytes"`
	} `json:"wikitext"`
	Stderr struct {
		A  []float64 `json:"a"`
		EA float64   `json:"mean_stderr_a"`
		B  []float64 `json:"b"`
		EB float64   `json:"mean_stderr_b"`
	} `json:"stderr"`
}

func scorings(t *testing.T) (old, now scoring) {
	t.Helper()
	f, err := os.Open("testdata/harness.json.gz")
	require.NoError(t, err)
	defer f.Close()
	r, err := gzip.NewReader(f)
	require.NoError(t, err)
	var all struct {
		Scoring map[string]scoring `json:"scoring"`
	}
	require.NoError(t, json.NewDecoder(r).Decode(&all))
	return all.Scoring["03"], all.Scoring["04"]
}

func TestNumbersAreExtracted(t *testing.T) {
	old, now := scorings(t)
	require.NotEmpty(t, now.GSM8K)
	task := func(p *Profile) *Task { return gsm8k(p)[0] }
	nowTask := task(DefaultProfile())
	for _, c := range now.GSM8K {
		require.Equal(t, c.Strict, strictNumber(c.Text), "%q", c.Text)
		require.Equal(t, c.Flexible, flexibleNumber(c.Text), "%q", c.Text)
		for i, gold := range now.Gold {
			e := &example{generate: &generation{want: gold}}
			require.Equal(t, c.StrictMatch[i], nowTask.Metrics[0].of(e, &outcome{text: c.Text}), "%q, %q", c.Text, gold)
			require.Equal(t, c.FlexibleMatch[i], nowTask.Metrics[1].of(e, &outcome{text: c.Text}), "%q, %q", c.Text, gold)
		}
	}
	require.NotEmpty(t, old.GSM8K)
	oldTask := task(Profiles[0])
	for _, c := range old.GSM8K {
		require.Equal(t, c.Answer, oldNumber(c.Text), "%q", c.Text)
		for i, gold := range old.Gold {
			e := &example{generate: &generation{want: gold}}
			require.Equal(t, share(c.Right[i]), oldTask.Metrics[0].of(e, &outcome{text: c.Text}), "%q, %q", c.Text, gold)
		}
	}
}

func TestTextsAreCleaned(t *testing.T) {
	old, now := scorings(t)
	for _, c := range append(old.Capitalize, now.Capitalize...) {
		require.Equal(t, c.Out, capitalize(c.Text), "%q", c.Text)
	}
	for _, c := range now.Hellaswag {
		require.Equal(t, c.Out, withoutMarks(c.Text), "%q", c.Text)
	}
	for _, c := range old.Output {
		require.Equal(t, c.Out, bigBenchOutput(c.Text), "%q", c.Text)
	}
	require.NotEmpty(t, now.Wikitext)
	for _, c := range now.Wikitext {
		row, err := json.Marshal(map[string]string{"page": c.Text})
		require.NoError(t, err)
		e, err := wikiText(DefaultProfile())[0].render(row)
		require.NoError(t, err)
		require.Equal(t, c.Out, e.rolling)
		require.Equal(t, c.Sizes, [2]int{e.words, e.bytes}, "%q", c.Text)
	}
}

func TestTiesOfBigBench(t *testing.T) {
	old, _ := scorings(t)
	require.NotEmpty(t, old.Argmax)
	for _, c := range old.Argmax {
		e := &example{grades: make([]float64, len(c.LL))}
		e.grades[c.Pick] = 1
		require.Equal(t, 1.0, bigBenchGrade(e, &outcome{likelihoods: c.LL}), "%v", c.LL)
	}
}

func TestStandardErrors(t *testing.T) {
	_, now := scorings(t)
	require.InEpsilon(t, now.Stderr.EA, *standardError(now.Stderr.A), 1e-12)
	require.InEpsilon(t, now.Stderr.EB, *standardError(now.Stderr.B), 1e-12)
	require.Nil(t, standardError([]float64{1}))
}

func TestMcNemar(t *testing.T) {
	for _, c := range []struct {
		b, c int
		p    float64
	}{{3, 9, 0.14599609375}, {0, 5, 0.0625}, {1, 12, 0.00341796875}, {10, 10, 1}, {0, 0, 1}} {
		require.InEpsilon(t, c.p, mcNemar(c.b, c.c), 1e-12)
		require.InEpsilon(t, c.p, mcNemar(c.c, c.b), 1e-12)
	}
}

// TestGroupsArePaired: groups that are whole, and all tasks, over their documents.
func TestGroupsArePaired(t *testing.T) {
	p, err := FindProfile("nous")
	require.NoError(t, err)
	var base, other []Result
	var changed [][]bool
	for _, task := range p.Tasks() {
		if !slices.Contains(task.Groups, "agieval") && task.Name != "piqa" {
			continue
		}
		result := func(values ...float64) Result {
			r := Result{Task: task.Name, task: task}
			for _, m := range task.Metrics {
				r.Metrics = append(r.Metrics, Metric{Name: m.Name, Filter: noFilter, values: values})
			}
			return r
		}
		base, other = append(base, result(1, 0)), append(other, result(0, 0))
		changed = append(changed, []bool{true, false})
	}
	all := p.paired(base, other, changed)
	last := all[len(all)-2:]
	require.Equal(t, []string{"agieval", AllTasks}, []string{last[0].Task, last[1].Task}, "gpt4all is not whole")
	require.Equal(t, []int{16, 18}, []int{last[0].N, last[1].N})
	require.Equal(t, -0.5, last[0].Delta)
	require.Equal(t, 9, *last[1].OnlyBaseRight)
}

func TestNousIsFourSuites(t *testing.T) {
	for _, c := range []struct {
		profile string
		tasks   int
	}{{"nous", 34}, {"openllm-v1", 34}, {"lm-eval-0.4", 0}} {
		p, err := FindProfile(c.profile)
		require.NoError(t, err)
		chosen, err := p.Select([]string{"nous"}, -1)
		require.Len(t, chosen, c.tasks)
		require.Equal(t, c.tasks == 0, err != nil)
	}
}

// FuzzLlamaCpp reads anything as each kind of llama.cpp's files.
func FuzzLlamaCpp(f *testing.F) {
	for _, name := range []string{"hellaswag.txt", "winogrande.csv", "questions.bin"} {
		data, err := os.ReadFile("testdata/llamacpp/" + name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range llamaCpp {
			if !kind.is(data) {
				continue
			}
			examples, err := kind.parse(data)
			for _, e := range examples {
				require.NoError(t, err)
				require.LessOrEqual(t, len(e.context)+len(e.choices), len(data))
			}
		}
	})
}
