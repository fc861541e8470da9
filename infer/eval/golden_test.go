package eval_test

import (
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/eval"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// harnessRun is what the harness made of the first documents of a task: see testdata/README.md.
type harnessRun struct {
	Profile   string  `json:"profile"`
	Model     string  `json:"model"`
	Task      string  `json:"task"`
	Shots     int     `json:"shots"`
	BOS       bool    `json:"bos"`
	MaxLength int     `json:"max_length"`
	Seed      *uint64 `json:"seed"`
	Chat      string  `json:"chat"`
	Version   string  `json:"version"`
	Docs      []struct {
		Doc      int `json:"doc"`
		Requests []struct {
			ContextSHA256      string   `json:"ctx_sha256"`
			Continuation       *string  `json:"continuation"`
			ContextTokens      int      `json:"ctx_tokens"`
			ContinuationTokens int      `json:"cont_tokens"`
			FedTokens          int      `json:"fed_tokens"`
			NewTokens          int      `json:"new_tokens"`
			LogLikelihood      *float64 `json:"ll"`
			Greedy             *bool    `json:"greedy"`
			Text               *string  `json:"text"`
		} `json:"requests"`
		Pick    *int               `json:"pick"`
		Metrics map[string]any     `json:"metrics"`
		Filters map[string]filters `json:"filters"`
	} `json:"docs"`
}

type filters struct {
	Filtered   string  `json:"filtered"`
	ExactMatch float64 `json:"exact_match"`
}

func harness(t *testing.T) (runs []harnessRun) {
	t.Helper()
	f, err := os.Open("testdata/harness.json.gz")
	require.NoError(t, err)
	defer f.Close()
	r, err := gzip.NewReader(f)
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(r).Decode(&struct{ Runs *[]harnessRun }{&runs}))
	return runs
}

// models opens models of beyonder-mini once.
type models map[string]opened

type opened struct {
	source convert.Model
	engine *infer.Model
	vocab  *tokenizer.Tokenizer
}

func (m models) open(t *testing.T, name string) opened {
	t.Helper()
	if o, ok := m[name]; ok {
		return o
	}
	source, err := convert.OpenModel(t.Context(), filepath.Join("../../testdata/beyonder-mini", name), convert.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close()) })
	engine, err := infer.New(source, infer.Options{})
	require.NoError(t, err)
	vocab, err := tokenizer.New(source.Metadata())
	require.NoError(t, err)
	m[name] = opened{source, engine, vocab}
	return m[name]
}

func selected(t *testing.T, profile, task string, shots int) (*eval.Profile, []eval.Selection) {
	t.Helper()
	p, err := eval.FindProfile(profile)
	require.NoError(t, err)
	s, err := p.Select([]string{task}, shots)
	require.NoError(t, err)
	return p, s
}

// TestHarness demands what the harness asked, to the token, and what it found.
func TestHarness(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is of figures")
	}
	open := make(models)
	for _, run := range harness(t) {
		model := open.open(t, run.Model)
		p, s := selected(t, run.Profile, run.Task, run.Shots)
		opts := eval.Options{BOS: &run.BOS, MaxLength: run.MaxLength, LogSamples: true}
		opts.Limit, opts.Seed, opts.Multiturn = float64(len(run.Docs)), run.Seed, run.Chat == "multiturn"
		if run.Chat != "" {
			template, err := chat.New(model.source.Metadata())
			require.NoError(t, err)
			opts.Template = template
		}
		found, err := p.Run(t.Context(), engines(model), model.vocab, s, &eval.Data{Dir: "testdata/data"}, opts)
		require.NoError(t, err)
		result := found.Models[0].Results[0]
		about := run.Profile + " " + run.Model + " " + run.Task
		require.Equal(t, run.Version, result.Version, about)
		require.Len(t, result.Samples, len(run.Docs), about)
		for i, want := range run.Docs {
			got := result.Samples[i]
			require.Equal(t, want.Doc, got.Doc, about)
			require.Len(t, got.Requests, len(want.Requests), about)
			for j, w := range want.Requests {
				g := got.Requests[j]
				require.Equal(t, w.ContextSHA256, g.ContextSHA256, about)
				require.Equal(t, w.Continuation, g.Continuation, about)
				require.Equal(t, []int{w.ContextTokens, w.ContinuationTokens, w.FedTokens}, []int{g.ContextTokens, g.ContinuationTokens, g.FedTokens}, about)
				if w.Text != nil {
					require.Equal(t, *w.Text, *g.Text, about)
					require.Equal(t, w.NewTokens, *g.NewTokens, about)
					continue
				}
				require.InEpsilon(t, *w.LogLikelihood, *g.LogLikelihood, 1e-5, about)
				require.Equal(t, w.Greedy, g.Greedy, about)
			}
			require.Equal(t, want.Pick, got.Pick, about)
			for name, w := range want.Metrics {
				value, ok := w.(float64)
				if right, is := w.(bool); is {
					value, ok = map[bool]float64{true: 1}[right], true
				}
				require.True(t, ok, about)
				require.InDelta(t, value, got.Metrics[name], 1e-5*math.Abs(value)+1e-30, about+" "+name)
			}
			for name, w := range want.Filters {
				require.Equal(t, w.Filtered, got.Filters[name], about)
				require.Equal(t, w.ExactMatch, got.Metrics["exact_match,"+name], about)
			}
		}
	}
}

func engines(m opened) []*infer.Model { return []*infer.Model{m.engine} }
