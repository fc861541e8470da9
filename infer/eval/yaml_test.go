package eval

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestYAMLIsAskedAsBuiltIn reads the harness' own files, and asks what the tasks that are built in ask, which the harness asked.
func TestYAMLIsAskedAsBuiltIn(t *testing.T) {
	p := DefaultProfile()
	for name, shots := range map[string]int{"piqa": 0, "openbookqa": 0, "gsm8k": 5, "mmlu_anatomy": 3, "truthfulqa_mc1": 0} {
		both, err := p.Select([]string{name}, shots)
		require.NoError(t, err)
		read, err := p.Select([]string{"testdata/tasks/" + name + ".yaml"}, shots)
		require.NoError(t, err)
		both = append(both, read...)
		var found [2][]*document
		for i, s := range both {
			found[i], err = p.documents(t.Context(), s, &Data{Dir: "testdata/data"}, Prompts{})
			require.NoError(t, err)
		}
		require.NotEmpty(t, found[0])
		require.Len(t, found[1], len(found[0]), name)
		require.Equal(t, both[0].Task.Version, both[1].Task.Version)
		for i, want := range found[0] {
			require.Equal(t, want.requests, found[1][i].requests, "%s, document %d", name, i)
			require.Equal(t, want.example.gold, found[1][i].example.gold)
			if g := want.example.generate; g != nil {
				require.Equal(t, g.stops, found[1][i].example.generate.stops)
				require.Equal(t, g.want, found[1][i].example.generate.want)
			}
		}
		require.Len(t, both[1].Task.Metrics, len(both[0].Task.Metrics))
		for i, m := range both[0].Task.Metrics {
			require.Equal(t, []string{m.Name, m.Filter}, []string{both[1].Task.Metrics[i].Name, both[1].Task.Metrics[i].Filter})
		}
		require.Equal(t, both[0].Task.Score, both[1].Task.Score)
	}
}

// TestYAMLFilters compares with what the harness' own functions make of odd texts.
func TestYAMLFilters(t *testing.T) {
	_, now := scorings(t)
	task, err := readYAMLTask("testdata/tasks/gsm8k.yaml")
	require.NoError(t, err)
	for _, c := range now.GSM8K {
		require.Equal(t, c.Strict, task.Metrics[0].extract(c.Text), "%q", c.Text)
		require.Equal(t, c.Flexible, task.Metrics[1].extract(c.Text), "%q", c.Text)
		for i, gold := range now.Gold {
			e := &example{generate: &generation{want: gold}}
			require.Equal(t, c.StrictMatch[i], task.Metrics[0].of(e, &outcome{text: c.Text}), "%q, %q", c.Text, gold)
			require.Equal(t, c.FlexibleMatch[i], task.Metrics[1].of(e, &outcome{text: c.Text}), "%q, %q", c.Text, gold)
		}
	}
}

const ownTask = `task: own
dataset_path: json
dataset_kwargs:
  data_files: {test: own.jsonl}
test_split: test
output_type: multiple_choice
doc_to_text: "{{q|trim}} is\n"
doc_to_target: "{{right}}"
doc_to_choice: '{{["it''s " ~ a, b]}}'
description: "About {{topic}}.\n"
target_delimiter: ""
fewshot_delimiter: "; "
fewshot_config:
  sampler: first_n
  samples:
  - {q: one, a: a, b: b, right: "1", topic: t}
num_fewshot: 1
metric_list:
- metric: acc
- metric: acc_bytes
`

func TestYAMLOfOnesOwn(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
		return path
	}
	write("own.jsonl", `{"q":" two ","a":"\"x\"","b":"ü","right":0,"topic":"all"}`)
	p := DefaultProfile()
	asked := func(path string) (*Task, []*document) {
		s, err := p.Select([]string{path}, -1)
		require.NoError(t, err)
		require.False(t, s[0].Task.NeedsData())
		docs, err := p.documents(t.Context(), s[0], &Data{}, Prompts{})
		require.NoError(t, err)
		return s[0].Task, docs
	}
	task, docs := asked(write("own.yaml", ownTask))
	require.Equal(t, "own", task.Name)
	const context = "About all.\none is\nb; two is\n"
	require.Equal(t, []request{{pair, context, `it's "x"`}, {pair, context, "ü"}}, docs[0].requests)
	require.Equal(t, []int{0}, docs[0].example.gold)

	task, docs = asked(write("likely.yaml", "include: own.yaml\noutput_type: loglikelihood\ndoc_to_choice: null\ndoc_to_target: '{{\" \" + b}}'\n"+
		"metric_list: null\nnum_fewshot: 0\n"))
	require.Equal(t, []request{{pair, "About all.\ntwo is\n", " ü"}}, docs[0].requests)
	require.Len(t, task.Metrics, 2)
	require.Equal(t, 1.0, task.Metrics[1].of(docs[0].example, &outcome{greedy: []bool{true}}))

	_, docs = asked(write("two.yaml", "include: [own.yaml]\ndoc_to_text: '{{right}}'\ndoc_to_target: b\nmetric_list: [{metric: acc}]\nnum_fewshot: 0\n"))
	require.Equal(t, []request{{pair, `About all.` + "\n" + `it's "x"`, "ü"}, {pair, "About all.\nü", "ü"}}, docs[0].requests)

	for content, says := range map[string]string{
		"include: own.yaml\ndoc_to_tex: x\n":                                           "bad.yaml: line 2: doc_to_tex: unsupported",
		"include: own.yaml\n\nprocess_docs: !function utils.f\n":                       "line 3: unsupported: !function names code in Python",
		"include: own.yaml\nprocess_results: f\n":                                      "line 2: process_results: unsupported",
		"include: own.yaml\nmetric_list:\n- metric: f1\n":                              `the metric "f1"`,
		"include: own.yaml\nmetric_list:\n- metric: acc\n  x: 1\n":                     "line 4: x: unsupported",
		"include: own.yaml\ngeneration_kwargs:\n  temperature: 0.7\n":                  "line 3: temperature",
		"include: own.yaml\nfilter_list:\n- name: x\n  filter: [{function: custom}]\n": "the filter custom",
		"include: own.yaml\nrepeats: 3\n":                                              "line 2: repeats",
		"include: own.yaml\ndoc_to_text: '{{ x'\n":                                     "line 2: doc_to_text",
		"include: own.yaml\noutput_type: guess\n":                                      "output_type guess",
		"include: bad.yaml\n":                                                          "included by itself",
		"include: none.yaml\n":                                                         "none.yaml",
		"- a\n":                                                                        "no mapping",
		"task: [a\n":                                                                   "bad.yaml",
		"task: a\n":                                                                    "doc_to_text and doc_to_target are needed",
	} {
		_, err := p.Select([]string{write("bad.yaml", content)}, -1)
		require.ErrorContains(t, err, says, content)
	}
	_, err := p.Select([]string{"testdata/tasks/hellaswag.yaml"}, -1)
	require.ErrorContains(t, err, "hellaswag.yaml: line 10: unsupported: !function")
	_, err = Profiles[0].Select([]string{write("own.yaml", ownTask)}, -1)
	require.ErrorContains(t, err, "lm-eval-0.4")

	s, err := p.Select([]string{write("missing.yaml", "include: own.yaml\ndoc_to_text: '{{nothing}}'\n")}, 0)
	require.NoError(t, err)
	_, err = p.documents(t.Context(), s[0], &Data{}, Prompts{})
	require.ErrorContains(t, err, "'nothing' is undefined")
}

// FuzzYAMLTask reads anything as a task's file, and renders a document.
func FuzzYAMLTask(f *testing.F) {
	f.Add([]byte(ownTask))
	for _, name := range []string{"piqa", "gsm8k", "truthfulqa_mc1", "hellaswag", "mmlu_anatomy"} {
		data, err := os.ReadFile("testdata/tasks/" + name + ".yaml")
		require.NoError(f, err)
		f.Add(data)
	}
	path := filepath.Join(f.TempDir(), "task.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o666))
		task, err := readYAMLTask(path)
		if err != nil {
			return
		}
		e, err := examine(task.render, []byte(`{"q":"one","goal":"x","choices":["a","b"],"label":1,"question":"?","answer":"#### 3"}`))
		if err == nil && e.generate != nil {
			for _, m := range task.Metrics {
				m.of(e, &outcome{text: "It is 3. #### 3"})
			}
		}
	})
}
