package eval_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/eval"
)

// TestLlamaCppScores compares every line that llama-perplexity prints: see testdata/llamacpp.
func TestLlamaCppScores(t *testing.T) {
	model := make(models).open(t, "base")
	for _, name := range []string{"hellaswag.txt", "winogrande.csv", "questions.bin"} {
		for limit, printed := range map[float64]string{0: ".printed", 6: "-6.printed"} {
			p, s := selected(t, "openllm-v1", "testdata/llamacpp/"+name, -1)
			opts := eval.Options{MaxLength: 512, LogSamples: true}
			opts.Limit = limit
			found, err := p.Run(t.Context(), engines(model), model.vocab, s, &eval.Data{}, opts)
			require.NoError(t, err)
			result := found.Models[0].Results[0]
			if limit == 0 && name != "hellaswag.txt" { // all, in the order of the file
				slices.SortFunc(result.Samples, func(a, b eval.Sample) int { return cmp.Compare(a.Doc, b.Doc) })
			}
			kind := strings.TrimSuffix(name, filepath.Ext(name))
			require.Equal(t, kind, result.Task)
			text, err := os.ReadFile("testdata/llamacpp/" + kind + printed)
			require.NoError(t, err)
			compareWithPrinted(t, strings.Split(strings.TrimSpace(string(text)), "\n"), result)
		}
	}
}

// compareWithPrinted compares documents with lines of their number, the score so far, and more.
func compareWithPrinted(t *testing.T, lines []string, r eval.Result) {
	t.Helper()
	m := r.Score()
	if last := len(lines) - 1; strings.HasPrefix(lines[last], "Final") {
		require.Equal(t, lines[last], fmt.Sprintf("Final result: %.4f +/- %.4f", 100*m.Value, 100**m.Stderr))
		lines = lines[:last]
	}
	require.Len(t, r.Samples, len(lines))
	right := 0.0
	for i, line := range lines {
		sample := r.Samples[i]
		right += sample.Metrics[m.Name]
		fields := strings.Fields(line)
		digits := len(strings.TrimSuffix(fields[1], "%")) - strings.IndexByte(fields[1], '.') - 1
		require.Equal(t, strings.TrimSuffix(fields[1], "%"), strconv.FormatFloat(100*right/float64(i+1), 'f', digits, 64), line)
		if len(fields) == 6 { // the means of both options, which was chosen, which is right
			for j, request := range sample.Requests {
				want, err := strconv.ParseFloat(fields[2+j], 64)
				require.NoError(t, err)
				require.InDelta(t, want, *request.LogLikelihood/float64(request.ContinuationTokens), 1e-5, line)
			}
			require.Equal(t, fields[4], strconv.Itoa(1+*sample.Pick))
		}
		if i == len(lines)-1 && m.CI95 != nil {
			require.Equal(t, strings.Join(fields[2:], " "), fmt.Sprintf("[%.4f%%, %.4f%%]", 100*m.CI95[0], 100*m.CI95[1]))
		}
	}
}

func TestLlamaCppFiles(t *testing.T) {
	p := eval.DefaultProfile()
	choices := func(numbers ...uint32) string {
		var b []byte
		for _, n := range numbers {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
		return string(b)
	}
	path := filepath.Join(t.TempDir(), "tasks.txt")
	for content, says := range map[string]string{
		"":                                     "has neither HellaSwag's lines",
		"some text\n":                          "has neither HellaSwag's lines",
		"c\nx\na\nb\nc\nd\n":                   "has neither HellaSwag's lines",
		"c\n0\na\nb\nc\nd\nc\nx\na\nb\nc\nd\n": "line 8 is \"x\"",
		"0,_ runs.,a,b,1\n1,\"No, gap.\",a,b,1\nx":   "line 2: there is no _",
		"0,_ runs.,a,b,1\n1,\"_, so.\",a,b\nx":       "line 2: there are not five values",
		"0,_ runs.,a,b,1\n1,_ runs.,a,b,3\nx":        "line 2: the answer is \"3\"",
		choices(1, 8, 1<<31):                         "task 0: 2147483648 bytes at 12 are beyond the end",
		choices(1, 8, 0, 101):                        "101 answers",
		choices(2, 12, 12, 0, 0, 0):                  "task 0 has no question",
		choices(2, 12, 99, 1, 'q', 0, 0) + "xxxxxxx": "task 1 is at 25, not at 99",
	} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
		_, err := p.Select([]string{path}, -1)
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, says)
	}

	require.NoError(t, os.WriteFile(path, []byte("c\n0\nan end\nan end\nan end\nan end\n"), 0o666))
	s, err := p.Select([]string{path}, -1)
	require.NoError(t, err)
	require.False(t, s[0].Task.NeedsData())
	model := make(models).open(t, "base")
	opts := eval.Options{MaxLength: 64}
	found, err := p.Run(t.Context(), engines(model), model.vocab, s, &eval.Data{}, opts)
	require.NoError(t, err)
	require.Equal(t, 1.0, found.Models[0].Results[0].Score().Value, "the first of equal ones")
	opts.MaxLength = 3
	_, err = p.Run(t.Context(), engines(model), model.vocab, s, &eval.Data{}, opts)
	require.ErrorContains(t, err, "tokens do not fit into a context of 3")
	opts.System = "Be brief."
	_, err = p.Run(t.Context(), engines(model), model.vocab, s, &eval.Data{}, opts)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
}
