package eval_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/eval"
)

func TestSelect(t *testing.T) {
	now := eval.DefaultProfile()
	chosen, err := now.Select([]string{"winogrande:3", "mmlu_stem", "gsm8k", "arc_easy"}, -1)
	require.NoError(t, err)
	require.Len(t, chosen, 1+19+1+1)
	require.Equal(t, "winogrande", chosen[0].Task.Name)
	require.Equal(t, 3, chosen[0].Shots)
	require.Equal(t, 5, chosen[20].Shots, "the profile's")
	require.Equal(t, 0, chosen[21].Shots)
	chosen, err = now.Select([]string{"mmlu", "mmlu_anatomy:2"}, 4)
	require.NoError(t, err)
	require.Len(t, chosen, 57, "each once")
	nous, err := eval.FindProfile("nous")
	require.NoError(t, err)
	chosen, err = nous.Select([]string{"agieval", "gpt4all", "truthfulqa", "bigbench"}, -1)
	require.NoError(t, err)
	require.Len(t, chosen, 8+7+1+18)

	for name, says := range map[string]string{
		"arc_easy:x": "is not a number of shots", "truthfulqa_mc1:5": "has no documents for shots", "no_such": "there is no task or group",
		"truthfulqa_mc": "profile openllm-v1 has", "bigbench_snarks": "another data set",
	} {
		_, err := now.Select([]string{name}, -1)
		require.ErrorContains(t, err, says)
	}
	_, err = eval.FindProfile("mine")
	require.ErrorContains(t, err, "openllm-v1, nous, lm-eval-0.4")
}

func TestUsersTasks(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
		return path
	}
	p := eval.DefaultProfile()
	for content, says := range map[string]string{
		"": "there are no documents", "{": "line 1 is not JSON", `{"choices":["a"],"gold":0}` + "\n" + `{"text":"t"}`: "document 1 is of another kind",
	} {
		_, err := p.Select([]string{write("bad.jsonl", content)}, -1)
		require.ErrorContains(t, err, "bad.jsonl")
		require.ErrorContains(t, err, says)
	}
	a := write("mine.jsonl", `{"context":"c","choices":["a","b"],"gold":[1]}`)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "x"), 0o777))
	_, err := p.Select([]string{a, write("x/mine.jsonl", `{"context":"c","target":"t"}`)}, -1)
	require.ErrorContains(t, err, "two tasks called mine")
}

// TestUsersTasksAreScored asks the same of a file of rendered documents as of the task itself.
func TestUsersTasksAreScored(t *testing.T) {
	model := make(models).open(t, "base")
	path := filepath.Join(t.TempDir(), "mine.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(`{"context":"The sky is","choices":["blue","made of cheese"],"gold":0}`+"\n"+
		`{"contexts":["One","Two"],"choices":["and","and"],"gold":1,"delim":" "}`+"\n"), 0o666))
	texts := filepath.Join(t.TempDir(), "texts.jsonl")
	require.NoError(t, os.WriteFile(texts, []byte(`{"text":"The sky is blue today."}`+"\n"), 0o666))
	written := filepath.Join(t.TempDir(), "written.jsonl")
	require.NoError(t, os.WriteFile(written, []byte(`{"context":"The sky is","target":"x","max_tokens":3}`+"\n"), 0o666))
	p := eval.DefaultProfile()
	s, err := p.Select([]string{path, texts, written}, -1)
	require.NoError(t, err)
	found, err := p.Run(t.Context(), engines(model), model.vocab, s, &eval.Data{}, eval.Options{MaxLength: 64, MaxTokens: 8, LogSamples: true})
	require.NoError(t, err)
	results := found.Models[0].Results
	require.Equal(t, "mine", results[0].Task)
	require.Equal(t, 2, results[0].N)
	require.Equal(t, "acc_norm", results[0].Score().Name)
	require.Equal(t, "word_perplexity", results[1].Metrics[0].Name)
	require.Equal(t, 3, *results[2].Samples[0].Requests[0].NewTokens)
}
