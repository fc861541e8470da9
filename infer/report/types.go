package report

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// fileTypeTexts says what each file type is, in a line.
var fileTypeTexts = map[recipe.FileType]string{
	recipe.F32:       "all weights in 32 bits: twice the size of most checkpoints, for nothing",
	recipe.F16:       "16 bits: exact for checkpoints in F16, clips large weights of others",
	recipe.BF16:      "16 bits: exact for checkpoints in BF16, which most are",
	recipe.Q8_0:      "8 bits: practically the original",
	recipe.Q6_K_L:    "Q6_K with embeddings and output in 8 bits",
	recipe.Q6_K:      "6 bits: very near the original",
	recipe.Q5_K_L:    "Q5_K_M with embeddings and output in 8 bits",
	recipe.Q5_K_M:    "5 bits, half of the most sensitive tensors in 6: near the original",
	recipe.Q5_K_S:    "5 bits",
	recipe.Q5_1:      "5 bits, older: Q5_K_M is smaller and nearer",
	recipe.Q5_0:      "5 bits, older: Q5_K_S is nearer",
	recipe.Q4_K_L:    "Q4_K_M with embeddings and output in 8 bits",
	recipe.Q4_K_M:    "4 bits, half of the most sensitive tensors in 6: what most people use",
	recipe.Q4_K_S:    "4 bits, a few sensitive tensors in 5",
	recipe.Q4_1:      "4 bits, older: Q4_K_M is smaller and nearer",
	recipe.Q4_0:      "4 bits, older: Q4_K_S is nearer; fast on ARM and some GPUs",
	recipe.IQ4_NL:    "4 bits, not evenly spaced; for rows that are no multiple of 256",
	recipe.IQ4_XS:    "4 bits, not evenly spaced: smaller than Q4_K_S, and hardly further",
	recipe.Q3_K_XL:   "Q3_K_L with embeddings and output in 8 bits",
	recipe.Q3_K_L:    "3 bits, the most sensitive tensors in 5",
	recipe.Q3_K_M:    "3 bits, sensitive tensors in 4 or 5: the loss can be seen",
	recipe.Q3_K_S:    "3 bits throughout",
	recipe.IQ3_M:     "3 bits from a grid, some tensors in 4",
	recipe.IQ3_S:     "3 bits from a grid, attn_v in 4 or 5",
	recipe.IQ3_XS:    "3 bits from two grids",
	recipe.IQ3_XXS:   "3 bits from a small grid",
	recipe.Q2_K_L:    "Q2_K with embeddings and output in 8 bits",
	recipe.Q2_K:      "2 bits, sensitive tensors in 3 or 4: IQ2_M is smaller and nearer",
	recipe.Q2_K_S:    "2 bits, some tensors in 4",
	recipe.IQ2_M:     "2 bits from a grid, some tensors in 3: for models that fit no other way",
	recipe.IQ2_S:     "2 bits from grids",
	recipe.IQ2_XS:    "2 bits from a small grid",
	recipe.IQ2_XXS:   "2 bits from the smallest grid",
	recipe.IQ1_M:     "less than 2 bits: the largest models only",
	recipe.IQ1_S:     "hardly more than 1 bit: the largest models only",
	recipe.TQ2_0:     "-1, 0 and 1, in 2 bits: for models trained so (BitNet), useless for others",
	recipe.TQ1_0:     "-1, 0 and 1, packed tighter: for models trained so (BitNet), useless for others",
	recipe.MXFP4_MOE: "experts in MXFP4, the rest in Q8_0: for models trained so (gpt-oss)",
	recipe.NVFP4:     "4-bit floats in blocks of 16: for models trained so",
	recipe.Q2_0:      "2 bits, evenly spaced: for models trained so, useless for others",
	recipe.Q1_0:      "signs only: for models trained so, useless for others",
}

// Types is what file types are: how large a model is, what they need, what they cost.
type Types struct {
	// Shape is the model that sizes are of.
	Shape string       `json:"shape"`
	Drift DriftedTexts `json:"drift"`
	Types []Type       `json:"types"`
}

// Type is a file type.
type Type struct {
	Name   string  `json:"name"`
	Number uint32  `json:"number"`
	BPW    float64 `json:"bpw"`
	Bytes  int64   `json:"bytes"`
	// NeedsImatrix is whether it is refused without an importance matrix.
	NeedsImatrix bool `json:"needs_imatrix"`
	// The divergence from the original on the demo's model, without and with an
	// importance matrix. Null where it was not measured.
	KLD        *float64 `json:"kld_mean"`
	KLDImatrix *float64 `json:"kld_mean_imatrix"`
	About      string   `json:"description"`
}

// typeDrifts is what the types cost on the demo's model. TestTypeDrifts measures
// some of them again; with -measure it measures all and writes the file.
//
//go:embed typedrifts.json
var typeDrifts []byte

// measuredDrifts is the content of typedrifts.json.
type measuredDrifts struct {
	Model string       `json:"model"`
	Texts DriftedTexts `json:"texts"`
	Types []typeDrift  `json:"types"`
}

// DriftedTexts are what the types were measured on.
type DriftedTexts []DriftedText

// DriftedText is one of them.
type DriftedText struct {
	File         string `json:"file"`
	SHA256       string `json:"sha256"`
	ScoredTokens int    `json:"scored_tokens"`
}

// typeDrift has the mean divergence on each text, null where it was not measured.
type typeDrift struct {
	Type       string    `json:"type"`
	KLD        []float64 `json:"kld"`
	KLDImatrix []float64 `json:"kld_imatrix"`
}

// mean returns the mean over the scored tokens of all texts, nil if nothing was
// measured.
func (t DriftedTexts) mean(kld []float64) *float64 {
	if kld == nil {
		return nil
	}
	sum, tokens := 0.0, 0
	for i, text := range t {
		sum += kld[i] * float64(text.ScoredTokens)
		tokens += text.ScoredTokens
	}
	sum /= float64(tokens)
	return &sum
}

// NewTypes reports on file types.
func NewTypes(types []recipe.FileType) (*Types, error) {
	var measured measuredDrifts
	if err := json.Unmarshal(typeDrifts, &measured); err != nil {
		return nil, err
	}
	drifts := make(map[string]typeDrift)
	for _, d := range measured.Types {
		drifts[d.Type] = d
	}
	report := &Types{Shape: "Mistral 7B", Drift: measured.Texts}
	for _, fileType := range types {
		r := Type{Name: fileType.String(), Number: uint32(fileType.Of()), About: fileTypeTexts[fileType]}
		var err error
		if r.Bytes, r.BPW, r.NeedsImatrix, err = mistralSize(fileType); err != nil {
			return nil, err
		}
		d := drifts[r.Name]
		r.KLD, r.KLDImatrix = measured.Texts.mean(d.KLD), measured.Texts.mean(d.KLDImatrix)
		report.Types = append(report.Types, r)
	}
	return report, nil
}

// mistralSize returns how large Mistral 7B is as a file type, and whether that needs
// an importance matrix.
func mistralSize(fileType recipe.FileType) (bytes int64, bpw float64, needsImatrix bool, err error) {
	meta, tensors := mistral7B()
	types, err := recipe.Plan(meta, tensors, fileType, recipe.Options{})
	if err != nil {
		return 0, 0, false, err
	}
	elements := int64(0)
	for i, t := range tensors {
		t.Type = types[i]
		bytes += t.Bytes()
		elements += t.Elements()
		needsImatrix = needsImatrix || quant.NeedsImportance(t.Type)
	}
	err = recipe.CheckImatrix(tensors, types, fileType, func(string) bool { return false })
	needsImatrix = needsImatrix || errors.Is(err, recipe.ErrNeedsImatrix)
	return bytes, 8 * float64(bytes) / float64(elements), needsImatrix, nil
}

// mistral7B describes Mistral 7B, as far as its size goes: 7.24 billion weights.
func mistral7B() (*gguf.Metadata, []gguf.TensorInfo) {
	const blocks, width, hidden, kv, vocabulary = 32, 4096, 14336, 1024, 32000
	meta := &gguf.Metadata{}
	meta.Set("general.architecture", "llama")
	meta.Set("llama.block_count", uint32(blocks))
	meta.Set("llama.attention.head_count", uint32(32))
	meta.Set("llama.attention.head_count_kv", uint32(8))
	var tensors []gguf.TensorInfo
	add := func(name string, shape ...int64) {
		t := gguf.TensorInfo{Name: name + ".weight", Type: gguf.BF16, Shape: shape}
		if len(shape) == 1 {
			t.Type = gguf.F32
		}
		tensors = append(tensors, t)
	}
	add("token_embd", width, vocabulary)
	add("output", width, vocabulary)
	add("output_norm", width)
	for i := range blocks {
		block := fmt.Sprintf("blk.%d.", i)
		add(block+"attn_norm", width)
		add(block+"attn_q", width, width)
		add(block+"attn_k", width, kv)
		add(block+"attn_v", width, kv)
		add(block+"attn_output", width, width)
		add(block+"ffn_norm", width)
		add(block+"ffn_gate", width, hidden)
		add(block+"ffn_up", width, hidden)
		add(block+"ffn_down", hidden, width)
	}
	return meta, tensors
}

// Print shows the types on a terminal.
func (r *Types) Print(w io.Writer) {
	r.table(w).Render()
	fmt.Fprintln(w)
	for _, line := range r.footer() {
		display.Line(w, line)
	}
}

// Markdown is what Print prints, for the documentation.
func (r *Types) Markdown() string {
	var b strings.Builder
	r.table(&b).RenderMarkdown()
	b.WriteString("\n\n" + strings.Join(r.footer(), "\n") + "\n")
	return b.String()
}

func (r *Types) table(w io.Writer) *display.Table {
	columns := []string{"type", "number", "bits per weight", "size of a 7B", "imatrix", "KL divergence", "with imatrix"}
	t := display.NewTable(w, append(columns, "what it is"), "number", "bits per weight", "size of a 7B", "KL divergence", "with imatrix").
		Spare("number", "bits per weight", "with imatrix", "imatrix", "size of a 7B")
	for _, f := range r.Types {
		needs := ""
		if f.NeedsImatrix {
			needs = "needed"
		}
		t.AppendRow(table.Row{
			f.Name, f.Number, fmt.Sprintf("%.2f", f.BPW), display.Bytes(f.Bytes), needs,
			kldText(f.KLD), kldText(f.KLDImatrix), f.About,
		})
	}
	return t
}

// footer says what the figures are.
func (r *Types) footer() []string {
	tokens := 0
	var names []string
	for _, text := range r.Drift {
		tokens += text.ScoredTokens
		names = append(names, display.Stem(text.File))
	}
	return []string{
		fmt.Sprintf("Sizes are those of %s: they depend on the shapes of a model, 'ggufkit quantize MODEL OUT.gguf TYPE --dry-run' has them for yours.",
			r.Shape),
		fmt.Sprintf("KL divergence from the original, in nats, is that of the demo's model, a mixture of 9.1 M parameters, on %d tokens of its five texts "+
			"(%s): a guide to the order. 'ggufkit drift' measures your model.", tokens, strings.Join(names, ", ")),
	}
}

// kldText writes a divergence with two significant digits, "" if there is none.
func kldText(kld *float64) string {
	const least = 1e-6
	switch {
	case kld == nil:
		return ""
	case *kld < least:
		return "0"
	}
	return fmt.Sprintf("%.*f", max(0, 1-int(math.Floor(math.Log10(*kld)))), *kld)
}
