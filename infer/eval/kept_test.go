package eval_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/eval"
	"github.com/ggufkit/ggufkit/infer/results"
)

// TestResume ends runs after each document, and goes on; in two parts, too. The results are those of one run.
func TestResume(t *testing.T) {
	model := make(models).open(t, "base")
	for _, task := range []string{"openbookqa", "gsm8k"} {
		p, s := selected(t, "lm-eval-0.4", task, 0)
		run := func(ctx context.Context, place *results.Place, limit float64) (*eval.Evaluation, error) {
			opts := eval.Options{MaxLength: 256, MaxTokens: 4, LogSamples: true, Results: place}
			opts.Limit = limit
			return p.Run(ctx, engines(model), model.vocab, s, &eval.Data{Dir: "testdata/data"}, opts)
		}
		want, err := run(t.Context(), nil, 3)
		require.NoError(t, err)

		dir := t.TempDir()
		asked := 0
		in := func(part results.Part, models string) *results.Place {
			return &results.Place{Storage: results.Directory(dir), Part: part, Facts: []gguf.Fact{{What: "models", Is: models}}}
		}
		for asked < 2 {
			ctx, kill := context.WithCancel(t.Context())
			place := in(results.Part{Number: 1, Of: 2}, "m")
			place.Check = func() error {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				asked++
				kill()
				return nil
			}
			_, err := run(ctx, place, 3)
			kill()
			require.Error(t, err)
		}
		partial := (*results.Partial)(nil)
		_, err = run(t.Context(), in(results.Part{}, "m"), 3)
		require.ErrorAs(t, err, &partial)
		require.False(t, partial.Done())
		require.Equal(t, []results.Missing{{Part: results.Part{Number: 2, Of: 2}, Units: 1}}, partial.Missing)
		_, err = run(t.Context(), in(results.Part{Number: 2, Of: 2}, "m"), 3)
		require.ErrorAs(t, err, &partial)
		require.True(t, partial.Done())
		got, err := run(t.Context(), in(results.Part{}, "m"), 3)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, 2, asked, "nothing is asked twice")

		for _, c := range []struct {
			models string
			limit  float64
		}{{"other", 3}, {"m", 2}} {
			place := in(results.Part{}, c.models)
			var notes []string
			place.Note = func(text string) { notes = append(notes, text) }
			_, err := run(t.Context(), place, c.limit)
			require.NoError(t, err)
			require.Contains(t, strings.Join(notes, "\n"), "results of another run")
		}
	}
}

// TestLines ends runs in the middle of a line of their file, and goes on.
func TestLines(t *testing.T) {
	model := make(models).open(t, "base")
	p, s := selected(t, "lm-eval-0.4", "openbookqa", 0)
	run := func(lines *eval.Lines, limit float64) (*eval.Evaluation, error) {
		opts := eval.Options{MaxLength: 256, LogSamples: true, Lines: lines}
		opts.Limit = limit
		return p.Run(t.Context(), engines(model), model.vocab, s, &eval.Data{Dir: "testdata/data"}, opts)
	}
	want, err := run(nil, 3)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "answers")
	open := func(models string, restart bool) *eval.Lines {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		require.NoError(t, err)
		t.Cleanup(func() { file.Close() })
		return &eval.Lines{File: file, Facts: []gguf.Fact{{What: "models", Is: models}}, Restart: restart}
	}
	got, err := run(open("m", false), 3)
	require.NoError(t, err)
	require.Equal(t, want, got)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 4, bytes.Count(whole, []byte("\n")))
	for _, cut := range []int{0, 10, len(whole) / 2, len(whole) - 1, len(whole)} {
		require.NoError(t, os.WriteFile(path, whole[:cut], 0o666))
		got, err := run(open("m", false), 3)
		require.NoError(t, err)
		require.Equal(t, want, got)
		again, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Len(t, again, len(whole))
	}

	for _, c := range []struct {
		models string
		limit  float64
	}{{"other", 3}, {"m", 2}} {
		_, err := run(open(c.models, false), c.limit)
		require.ErrorIs(t, err, eval.ErrOtherRun)
		require.ErrorContains(t, err, path)
	}
	_, err = run(open("m", true), 2)
	require.NoError(t, err, "from the start")
	require.NoError(t, os.WriteFile(path, []byte("a letter\n"), 0o666))
	_, err = run(open("m", true), 2)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	letter, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "a letter\n", string(letter))
}
