package drift

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
	fixture "github.com/ggufkit/ggufkit/testdata/reference"
)

const golden = "testdata/math.kld"

func readGolden(t testing.TB) (data []byte, l *Logits) {
	t.Helper()
	data, err := os.ReadFile(golden)
	require.NoError(t, err)
	l, err = ReadLogits(bytes.NewReader(data), int64(len(data)), golden)
	require.NoError(t, err)
	return data, l
}

// mathText returns the model and the text that the golden file is of.
func mathText(t *testing.T) (convert.Model, Text) {
	t.Helper()
	model, err := convert.OpenModel(t.Context(), fixture.MoE(t), convert.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, model.Close()) })
	tok, err := tokenizer.New(model.Metadata())
	require.NoError(t, err)
	data, err := os.ReadFile("../../testdata/texts/math.txt")
	require.NoError(t, err)
	text := Text{Name: "math"}
	text.Tokens, text.BOS, err = perplexity.Tokens(tok, string(data))
	require.NoError(t, err)
	return model, text
}

var ofGolden = Options{Options: perplexity.Options{Ctx: 8, Chunks: 2}}

// written is a file in memory.
type written struct {
	*os.File
}

func newWritten(t *testing.T) written {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "logits"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return written{f}
}

func (w written) read(t *testing.T) (data []byte, l *Logits) {
	t.Helper()
	data, err := os.ReadFile(w.Name())
	require.NoError(t, err)
	l, err = ReadLogits(bytes.NewReader(data), int64(len(data)), "saved")
	require.NoError(t, err)
	return data, l
}

// TestLogitsAreThoseOfLlamaPerplexity saves what llama-perplexity has saved of the same model and text.
func TestLogitsAreThoseOfLlamaPerplexity(t *testing.T) {
	model, text := mathText(t)
	theirs, base := readGolden(t)
	require.Equal(t, [2]int{8, 4096}, [2]int{base.Ctx, base.Vocabulary})
	require.Equal(t, text.Tokens[:16], base.Tokens)

	out := newWritten(t)
	opts := ofGolden
	var err error
	opts.Save, err = NewLogitsWriter(out, 4096, text, opts.Options)
	require.NoError(t, err)
	measured, err := Measure(t.Context(), model, nil, []Text{text}, opts)
	require.NoError(t, err)
	ours, saved := out.read(t)
	require.Len(t, ours, len(theirs))
	head := saved.offset(0, 0)
	require.Equal(t, theirs[:head], ours[:head])
	logits := func(l *Logits, chunk, row int) (logs []float64) {
		var buffer []byte
		r, err := l.row(chunk, row, &buffer)
		require.NoError(t, err)
		for id := range l.Vocabulary {
			logs = append(logs, float64(r.log(id)))
		}
		return logs
	}
	m, err := infer.New(model, infer.Options{})
	require.NoError(t, err)
	var exact [2][4][]float32 // by chunk and row, which are visited at the same time
	chunks := perplexity.InferChunks(saved.Text(text.BOS, 0).Windows)
	for c := range chunks {
		require.NoError(t, m.Forward(t.Context(), chunks[c:][:1], func(_, pos int, l []float32) { exact[c][pos-4] = slices.Clone(l) }))
	}
	for chunk := range 2 {
		for row := range 3 {
			a, b := logits(base, chunk, row), logits(saved, chunk, row)
			l := exact[chunk][row]
			s, err := newSoftmax(l)
			require.NoError(t, err)
			for id := range a {
				require.InDelta(t, a[id], b[id], 0.03, "it computes in bfloat16")
				p := float64(l[id]) - s.logTotal()
				if p > s.highest-s.logTotal()-range16 {
					require.InDelta(t, p, b[id], 0.5*range16/math.MaxUint16+3e-6, "half a step")
				}
			}
		}
	}

	// What is read says what was measured: perplexity, and no divergence from itself but for rounding.
	again, err := MeasureSaved(t.Context(), saved, text.BOS, []Candidate{{"itself", model}}, Options{})
	require.NoError(t, err)
	require.InEpsilon(t, measured.Base.Overall.PPL.Value, again.Base.PPL.Value, 2e-4)
	require.InEpsilon(t, measured.Base.Overall.PPL.Value, again.Candidates[0].Overall.PPL.Value, 1e-12)
	require.InDelta(t, 0, again.Candidates[0].Overall.KLD.Value, 1e-4)
	require.Equal(t, 1., again.Candidates[0].Overall.SameTop.Value)
}

// TestDivergenceIsThatOfLlamaPerplexity compares with what llama-perplexity --kl-divergence prints of the model in Q2_K, against the
// golden file, and with what Measure makes of the same without a file.
func TestDivergenceIsThatOfLlamaPerplexity(t *testing.T) {
	model, text := mathText(t)
	_, base := readGolden(t)
	view, err := quant.NewView(model, recipe.Q2_K, quant.ViewOptions{})
	require.NoError(t, err)
	candidates := []Candidate{{"Q2_K", view}, {"itself", model}}
	saved, err := MeasureSaved(t.Context(), base, text.BOS, candidates, Options{})
	require.NoError(t, err)
	q2k := saved.Candidates[0]
	require.Equal(t, 6, q2k.Overall.Tokens)
	require.InEpsilon(t, 0.07709, q2k.Overall.KLD.Value, 0.01)
	require.InEpsilon(t, 76.5027, q2k.Overall.PPL.Value, 0.01)
	require.InEpsilon(t, math.Exp(0.05104), q2k.Overall.Ratio.Value, 0.01)
	require.InEpsilon(t, 0.01953, q2k.Overall.RMSDeltaP.Value, 0.02)
	require.InEpsilon(t, 5./6, q2k.Overall.SameTop.Value, 1e-12)
	require.Len(t, q2k.KLD[0], 2)
	require.Less(t, saved.Candidates[1].Overall.KLD.Value, 1e-3)

	full, err := Measure(t.Context(), model, candidates[:1], []Text{text}, ofGolden)
	require.NoError(t, err)
	require.InEpsilon(t, full.Candidates[0].Overall.KLD.Value, q2k.Overall.KLD.Value, 0.01)
	one, err := MeasureSaved(t.Context(), base, text.BOS, candidates[:1], Options{Options: perplexity.Options{Chunks: 1}})
	require.NoError(t, err)
	require.Equal(t, q2k.KLD[0][:1], one.Candidates[0].KLD[0])
}

func TestOddVocabulariesAndSpans(t *testing.T) {
	text := Text{Tokens: []int32{0, 1, 2, 0, 1, 2}}
	out := newWritten(t)
	w, err := NewLogitsWriter(out, 3, text, perplexity.Options{Ctx: 3})
	require.NoError(t, err)
	require.NoError(t, w.put(1, 0, []float32{5, 5, 5}))
	require.NoError(t, w.put(0, 0, []float32{-100, 0, -8}))
	data, l := out.read(t)
	require.Len(t, data, 20+4*6+2*(8+2*4))
	var buffer []byte
	far, err := l.row(0, 0, &buffer)
	require.NoError(t, err)
	require.Equal(t, []byte{0, 0, 0xff, 0xff, 0, 0x80}, far.values)
	require.InDelta(t, -16, far.log(0), 1e-3)
	require.InDelta(t, 0, far.log(1), 1e-3)
	same, err := l.row(1, 0, &buffer)
	require.NoError(t, err)
	require.Zero(t, same.step)
	require.InDelta(t, -math.Log(3), same.log(2), 1e-6)

	for _, bad := range []Text{{Tokens: []int32{1, 2}}, {Windows: []perplexity.Window{{Tokens: []int32{1, 2, 3}}}}} {
		_, err := NewLogitsWriter(out, 3, bad, perplexity.Options{Ctx: 3})
		require.ErrorIs(t, err, gguf.ErrUnsupported)
	}
	model, words := mathText(t)
	for _, opts := range []Options{{Save: w}, {Save: w, UntilSeparated: true}} {
		opts.Options = ofGolden.Options
		texts := []Text{words}
		if !opts.UntilSeparated {
			texts = append(texts, words)
		}
		_, err = Measure(t.Context(), model, nil, texts, opts)
		require.ErrorIs(t, err, gguf.ErrUnsupported)
	}
}

// logitsFile returns a file of one chunk of three tokens of a vocabulary of two, changed.
func logitsFile(change func(data []byte) []byte) []byte {
	data := []byte(logitsMagic)
	for _, n := range []uint32{3, 2, 1, 0, 1, 1, math.Float32bits(0.001), math.Float32bits(-1)} {
		data = binary.LittleEndian.AppendUint32(data, n)
	}
	data = append(data, 1, 0, 2, 0)
	return change(data)
}

func TestHostileLogits(t *testing.T) {
	put := func(at int, v uint32) func([]byte) []byte {
		return func(data []byte) []byte {
			binary.LittleEndian.PutUint32(data[at:], v)
			return data
		}
	}
	for message, change := range map[string]func([]byte) []byte{
		"not a file of logits":        func(data []byte) []byte { return data[:10] },
		"begins with _logits_":        func(data []byte) []byte { data[0] = 'x'; return data },
		"chunks of 2 tokens":          put(8, 2),
		"chunks of -1 tokens":         put(8, math.MaxUint32),
		"a vocabulary of 0":           put(12, 0),
		"a vocabulary of 1073741824":  put(12, 1<<30),
		"0 chunks":                    put(16, 0),
		"2147483647 chunks":           put(16, math.MaxInt32),
		"the file has 44 bytes":       put(16, 2),
		"the file has 43 bytes":       func(data []byte) []byte { return data[:43] },
		"the file has 45 bytes":       func(data []byte) []byte { return append(data, 0) },
		"token 1, at offset 24, is 2": put(24, 2),
		"is -1 of a vocabulary":       put(28, math.MaxUint32),
	} {
		data := logitsFile(change)
		_, err := ReadLogits(bytes.NewReader(data), int64(len(data)), "x.kld")
		require.ErrorIs(t, err, gguf.ErrCorrupt, message)
		require.ErrorContains(t, err, "x.kld: ")
		require.ErrorContains(t, err, message)
	}
	for _, change := range []func([]byte) []byte{put(32, math.Float32bits(float32(math.NaN()))), put(32, math.Float32bits(-1)), put(36, math.Float32bits(float32(math.Inf(-1))))} {
		data := logitsFile(change)
		l, err := ReadLogits(bytes.NewReader(data), int64(len(data)), "x.kld")
		require.NoError(t, err)
		var buffer []byte
		_, err = l.row(0, 0, &buffer)
		require.ErrorIs(t, err, gguf.ErrCorrupt)
		require.ErrorContains(t, err, "at offset 32")
	}

	model, text := mathText(t)
	data := logitsFile(func(data []byte) []byte { return data })
	l, err := ReadLogits(bytes.NewReader(data), int64(len(data)), "x.kld")
	require.NoError(t, err)
	_, err = MeasureSaved(t.Context(), l, text.BOS, []Candidate{{"it", model}}, Options{})
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	require.ErrorContains(t, err, "it: ")
	data, _ = readGolden(t)
	binary.LittleEndian.PutUint32(data[len(data)-8200:], math.Float32bits(2))
	l, err = ReadLogits(bytes.NewReader(data), int64(len(data)), "x.kld")
	require.NoError(t, err)
	_, err = MeasureSaved(t.Context(), l, text.BOS, []Candidate{{"it", model}}, Options{})
	require.ErrorIs(t, err, gguf.ErrCorrupt)
}

func FuzzReadLogits(f *testing.F) {
	data, _ := readGolden(f)
	f.Add(data[:100])
	f.Add(logitsFile(func(data []byte) []byte { return data }))
	out := logitsFile(func(data []byte) []byte { data[32] = 0xff; return data })
	f.Add(out)
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ReadLogits(bytes.NewReader(data), int64(len(data)), "fuzz")
		if err != nil {
			return
		}
		require.Len(t, l.Tokens, l.Chunks()*l.Ctx)
		text := l.Text(0, 0)
		require.Len(t, text.Windows, l.Chunks())
		var buffer []byte
		for row := range l.scored() {
			r, err := l.row(l.Chunks()-1, row, &buffer)
			if err != nil {
				require.ErrorIs(t, err, gguf.ErrCorrupt)
				continue
			}
			_, _, err = compareSaved(r, make([]float32, l.Vocabulary), text.Windows[0].Tokens[l.Ctx-1])
			require.NoError(t, err)
		}
	})
}
