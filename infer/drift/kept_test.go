package drift_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// Parts, one of which is stopped after each batch that it has kept, give the same report as a run in one piece, to the last bit.
func TestResultsAreThoseOfOneRun(t *testing.T) {
	base := open(t, reference.MoE(t))
	candidates := view(t, base, recipe.Q4_K_M)
	words := texts(t, base, "math", "chat")
	opts := drift.Options{Options: perplexity.Options{Ctx: 16, Chunks: 5}, Engine: infer.Options{Compute: infer.Int8}}
	want := measure(t, base, candidates, words, opts)

	dir := t.TempDir()
	in := func(part results.Part) drift.Options {
		opts := opts
		opts.Results = &results.Place{Storage: results.Directory(dir), Part: part}
		return opts
	}
	partial := (*results.Partial)(nil)
	_, err := drift.Measure(t.Context(), base, candidates, words, in(results.Part{Number: 2, Of: 2}))
	require.ErrorAs(t, err, &partial)
	require.True(t, partial.Done())
	require.Equal(t, 9, partial.Units, "five windows, and four of the floor")
	require.Equal(t, 9, partial.Now)

	killed := 0
	for done := false; !done; {
		ctx, kill := context.WithCancel(t.Context())
		opts := in(results.Part{Number: 1, Of: 2})
		opts.Engine.Memory = 1 // batches of one window
		opts.Results.Check = func() error {
			if killed++; killed%3 == 0 {
				kill()
			}
			return nil
		}
		_, err := drift.Measure(ctx, base, candidates, words, opts)
		kill()
		partial = nil
		if done = killed == 9; done { // the last was kept when it was stopped
			require.ErrorAs(t, err, &partial)
			require.True(t, partial.Done())
		} else {
			require.ErrorIs(t, err, context.Canceled)
		}
		require.Less(t, killed, 20)
	}
	require.Equal(t, 9, killed, "nothing was done twice")

	require.Equal(t, want, measure(t, base, candidates, words, in(results.Part{})))
	files, err := filepath.Glob(filepath.Join(dir, "drift-*-1of2-*.results"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	require.NoError(t, os.Remove(files[0]))
	_, err = drift.Measure(t.Context(), base, candidates, words, in(results.Part{}))
	require.ErrorAs(t, err, &partial)
	require.False(t, partial.Done())
	require.Equal(t, want, measure(t, base, candidates, words, in(results.Part{Number: 1, Of: 1})), "it does what is missing")

	until := in(results.Part{})
	until.UntilSeparated = true
	_, err = drift.Measure(t.Context(), base, candidates, words, until)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
}
