package drift

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/perplexity"
)

// Logits is what a model predicted for a text, as llama-perplexity keeps it in a file (--kl-divergence-base): for each scored token
// of each chunk the logarithms of all probabilities, in 16 bits each. Little-endian, it is
//
//	"_logits_", int32 tokens of a chunk, int32 vocabulary, int32 chunks
//	int32 tokens, of chunk after chunk, as the text has them
//	for each chunk, and each of its tokens from the middle to the last but one: a row of 2 x uint16 more than an even number of
//	values: float32 step, float32 least, and values: log p = step · value + least
//
// What is less likely than e⁻¹⁶ of the most likely has value 0.
type Logits struct {
	Ctx        int // tokens of a chunk
	Vocabulary int
	Tokens     []int32
	r          io.ReaderAt
	name       string
}

const (
	logitsMagic  = "_logits_"
	logitsHeader = len(logitsMagic) + 3*4
	// range16 is the difference of logarithms that the values of a row span at most.
	range16 = 16
	// maxLogitsTokens and maxVocabulary are more than any text and any model has; they bound what is read at once.
	maxLogitsTokens = 1 << 26
	maxVocabulary   = 1 << 24
	// leastCtx is the length of the shortest chunk with a token to score.
	leastCtx = 3
)

// Chunks returns how many there are.
func (l *Logits) Chunks() int { return len(l.Tokens) / l.Ctx }

// first returns the first position of a chunk whose next token is scored.
func (l *Logits) first() int { return l.Ctx / 2 }

// scored returns how many tokens of a chunk are scored.
func (l *Logits) scored() int { return l.Ctx - 1 - l.first() }

// rowBytes returns the bytes of a row.
func (l *Logits) rowBytes() int64 { return 2 * int64(4+(l.Vocabulary+1)/2*2) }

// offset returns where the row of a scored token of a chunk is.
func (l *Logits) offset(chunk, row int) int64 {
	return int64(logitsHeader) + 4*int64(len(l.Tokens)) + (int64(chunk)*int64(l.scored())+int64(row))*l.rowBytes()
}

// ReadLogits reads the beginning of a file of so many bytes. The error wraps gguf.ErrCorrupt.
func ReadLogits(r io.ReaderAt, size int64, name string) (*Logits, error) {
	l, err := readLogits(r, size, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

func readLogits(r io.ReaderAt, size int64, name string) (*Logits, error) {
	header := make([]byte, logitsHeader)
	if _, err := r.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if size < int64(logitsHeader) || string(header[:len(logitsMagic)]) != logitsMagic {
		return nil, fmt.Errorf("%w: not a file of logits, which begins with %s", gguf.ErrCorrupt, logitsMagic)
	}
	number := func(i int) int64 { return int64(int32(binary.LittleEndian.Uint32(header[len(logitsMagic)+4*i:]))) }
	ctx, vocabulary, chunks := number(0), number(1), number(2)
	switch {
	case ctx < leastCtx || ctx > maxLogitsTokens:
		return nil, fmt.Errorf("%w: chunks of %d tokens, at offset %d", gguf.ErrCorrupt, ctx, len(logitsMagic))
	case vocabulary < 1 || vocabulary > maxVocabulary:
		return nil, fmt.Errorf("%w: a vocabulary of %d tokens, at offset %d", gguf.ErrCorrupt, vocabulary, len(logitsMagic)+4)
	case chunks < 1 || chunks > maxLogitsTokens/ctx:
		return nil, fmt.Errorf("%w: %d chunks of %d tokens, at offset %d", gguf.ErrCorrupt, chunks, ctx, len(logitsMagic)+8)
	}
	l := &Logits{Ctx: int(ctx), Vocabulary: int(vocabulary), r: r, name: name}
	// At most 2²⁶ rows of 2²⁵ bytes.
	if want := int64(logitsHeader) + chunks*(4*ctx+int64(l.scored())*l.rowBytes()); size != want {
		return nil, fmt.Errorf("%w: the file has %d bytes, not the %d of %d chunks of %d tokens of a vocabulary of %d", gguf.ErrCorrupt, size, want, chunks, ctx, vocabulary)
	}
	raw := make([]byte, 4*chunks*ctx)
	if _, err := r.ReadAt(raw, int64(logitsHeader)); err != nil {
		return nil, fmt.Errorf("the tokens: %w", err)
	}
	for i := range chunks * ctx {
		id := int32(binary.LittleEndian.Uint32(raw[4*i:]))
		if id < 0 || int64(id) >= vocabulary {
			return nil, fmt.Errorf("%w: token %d, at offset %d, is %d of a vocabulary of %d", gguf.ErrCorrupt, i, int64(logitsHeader)+4*i, id, vocabulary)
		}
		l.Tokens = append(l.Tokens, id)
	}
	return l, nil
}

// Text returns the chunks as a text to score, at most some of them, 0 for all. bos is the first token of each, -1 for that of
// the text.
func (l *Logits) Text(bos int32, most int) Text {
	text := Text{Name: l.name, BOS: bos}
	for chunk := range slices.Chunk(l.Tokens, l.Ctx) {
		if most > 0 && len(text.Windows) == most {
			break
		}
		w := perplexity.Window{Tokens: slices.Clone(chunk)}
		if bos >= 0 {
			w.Tokens[0] = bos
		}
		for pos := l.first(); pos < l.Ctx-1; pos++ {
			w.Scored = append(w.Scored, pos)
		}
		text.Windows = append(text.Windows, w)
	}
	return text
}

// savedRow is a row of the file, as it is there.
type savedRow struct {
	step, least float32
	values      []byte // 2 for each token
}

// row reads the row of a scored token of a chunk into a buffer.
func (l *Logits) row(chunk, row int, buffer *[]byte) (savedRow, error) {
	offset := l.offset(chunk, row)
	if int64(len(*buffer)) != l.rowBytes() {
		*buffer = make([]byte, l.rowBytes())
	}
	if _, err := l.r.ReadAt(*buffer, offset); err != nil {
		return savedRow{}, fmt.Errorf("%s: at offset %d: %w", l.name, offset, err)
	}
	r := savedRow{
		step:   math.Float32frombits(binary.LittleEndian.Uint32(*buffer)),
		least:  math.Float32frombits(binary.LittleEndian.Uint32((*buffer)[4:])),
		values: (*buffer)[8:][:2*l.Vocabulary],
	}
	if !(r.step >= 0 && r.step <= 1) || !(math.Abs(float64(r.least)) <= math.MaxFloat32) {
		return r, fmt.Errorf("%s: %w: at offset %d, steps of %v from %v on", l.name, gguf.ErrCorrupt, offset, r.step, r.least)
	}
	return r, nil
}

// log returns the logarithm of the probability of a token.
func (r savedRow) log(id int) float32 {
	return float32(r.step*float32(binary.LittleEndian.Uint16(r.values[2*id:]))) + r.least
}

// compareSaved scores a token given the logits of a model, beside what the base predicted. It is what llama-perplexity makes
// of the same (log_softmax() in perplexity.cpp): probabilities are taken as they are, though rounding keeps them from adding up to 1, and those below
// e⁻¹⁶ are left out.
func compareSaved(base savedRow, logits []float32, next int32) (reference, token, error) {
	s, err := newSoftmax(logits)
	if err != nil {
		return reference{}, token{}, err
	}
	total := s.logTotal()
	top, highest := 0, base.log(0)
	var kld float64
	for i, logit := range logits {
		p := base.log(i)
		if p > highest {
			top, highest = i, p
		}
		if p > -range16 {
			kld += float64(math.Exp(float64(p)) * (float64(p) - float64(logit) + total)) // not fused, to be the same everywhere
		}
	}
	r := reference{nll: -float64(base.log(int(next)))}
	nll := total - float64(logits[next])
	return r, token{nll: nll, kld: kld, deltaP: math.Exp(-nll) - math.Exp(-r.nll), sameTop: s.top == top}, nil
}

// LogitsWriter writes the file of Logits. Rows may come in any order, and at the same time.
type LogitsWriter struct {
	layout Logits
	w      io.WriterAt
}

// NewLogitsWriter begins a file for what a model of a vocabulary predicts for a text, and writes all but the rows. It is an error if the text is
// made of conversations, or too large for the file.
func NewLogitsWriter(w io.WriterAt, vocabulary int, text Text, opts perplexity.Options) (*LogitsWriter, error) {
	chunks := opts.Windows(len(text.Tokens))
	if text.Windows != nil || opts.Ctx < leastCtx || chunks < 1 || chunks > maxLogitsTokens/opts.Ctx || vocabulary > maxVocabulary {
		return nil, fmt.Errorf("%w: logits are saved of texts in windows of one length, %d tokens at most", gguf.ErrUnsupported, maxLogitsTokens)
	}
	l := &LogitsWriter{Logits{Ctx: opts.Ctx, Vocabulary: vocabulary, Tokens: text.Tokens[:chunks*opts.Ctx]}, w}
	header := bytes.NewBufferString(logitsMagic)
	for _, n := range append([]int32{int32(opts.Ctx), int32(vocabulary), int32(chunks)}, l.layout.Tokens...) {
		header.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
	}
	_, err := w.WriteAt(header.Bytes(), 0)
	return l, err
}

// put writes the row of a scored token of a chunk, in the arithmetic of llama-perplexity.
func (l *LogitsWriter) put(chunk, row int, logits []float32) error {
	highest := slices.Max(logits)
	lowest := max(slices.Min(logits), highest-range16)
	var sum float64
	for _, v := range logits {
		sum += float64(float32(math.Exp(float64(v - highest))))
	}
	least := lowest - highest - float32(math.Log(sum))
	step := (highest - lowest) / math.MaxUint16
	raw := make([]byte, l.layout.rowBytes())
	binary.LittleEndian.PutUint32(raw, math.Float32bits(step))
	binary.LittleEndian.PutUint32(raw[4:], math.Float32bits(least))
	if step > 0 {
		inverse := 1 / step
		for i, v := range logits {
			if v > lowest {
				steps := float32(inverse * (v - lowest))
				binary.LittleEndian.PutUint16(raw[8+2*i:], uint16(min(math.RoundToEven(float64(steps)), math.MaxUint16)))
			}
		}
	}
	_, err := l.w.WriteAt(raw, l.layout.offset(chunk, row))
	return err
}
