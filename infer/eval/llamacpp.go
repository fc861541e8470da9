package eval

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/internal/pyrandom"
	"github.com/ggufkit/ggufkit/infer/score"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// The task files of llama.cpp's llama-perplexity, asked and scored as it does (0.7.0): nothing stands before a question, a choice is
// encoded together with it, and choices are compared by their mean log-likelihood for each token. Scores are not those of the harness.

// llamaCpp are the kinds of files.
var llamaCpp = []struct {
	name   string
	is     func(data []byte) bool
	parse  func(data []byte) ([]*example, error)
	order  func(n int) []int
	encode func(e *encoder, requests []request) ([]*encoded, error)
	figure *Measure
}{
	{"multiple-choice", isLlamaChoices, parseLlamaChoices, orderOfSwaps, (*encoder).behindPrefix, perToken("acc_norm", nil)},
	{"hellaswag", isLlamaHellaswag, parseLlamaHellaswag, orderOfErasures, (*encoder).behindPrefix, perToken("acc_norm", wilson)},
	{"winogrande", isLlamaWinogrande, parseLlamaWinogrande, orderOfSwaps, (*encoder).behindGap, perToken("acc", nil)},
}

// mostLlamaTasks bounds the time of orderOfErasures. HellaSwag, the largest, has 70,000 documents in all.
const mostLlamaTasks = 1 << 17

func perToken(name string, interval func(float64, int) [2]float64) *Measure {
	return &Measure{Name: name, of: accuracy.of, interval: interval}
}

// llamaTask returns the task that a file of llama.cpp's is, which its content tells.
func llamaTask(path string) (*Task, error) {
	data, err := new(Data).whole(path)
	if err != nil {
		return nil, err
	}
	for _, kind := range llamaCpp {
		if !kind.is(data) {
			continue
		}
		open := func(data []byte) ([]json.RawMessage, func(json.RawMessage) (*example, error), error) {
			examples, err := kind.parse(data)
			if len(examples) > mostLlamaTasks {
				return nil, nil, fmt.Errorf("%w: %d tasks, of which there may be %d", gguf.ErrUnsupported, len(examples), mostLlamaTasks)
			}
			rows := make([]json.RawMessage, len(examples))
			for i := range rows {
				rows[i] = strconv.AppendInt(nil, int64(i), 10)
			}
			return rows, reads(func(i int) (*example, error) { return examples[i], nil }), err
		}
		if _, _, err := open(data); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return &Task{
			Name: display.Stem(path), Version: "llama.cpp " + kind.name, path: path, open: open, order: kind.order, encode: kind.encode,
			Metrics: []*Measure{kind.figure},
		}, nil
	}
	return nil, fmt.Errorf("%s: %w: it has neither HellaSwag's lines, nor Winogrande's, nor multiple choices as llama.cpp has them", path, gguf.ErrUnsupported)
}

// linesOf returns the lines of a text. The end of the last line is not counted.
func linesOf(data []byte) []string {
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

const linesOfHellaswag = 6 // context, number of the right ending, four endings

func isLlamaHellaswag(data []byte) bool {
	lines := linesOf(data)
	if len(lines)%linesOfHellaswag != 0 {
		return false
	}
	_, err := strconv.Atoi(strings.TrimSpace(lines[1]))
	return err == nil
}

func parseLlamaHellaswag(data []byte) (examples []*example, err error) {
	n := 1
	for lines := range slices.Chunk(linesOf(data), linesOfHellaswag) {
		right, err := strconv.Atoi(strings.TrimSpace(lines[1]))
		if err != nil {
			return nil, fmt.Errorf("%w: line %d is %q, not the number of the right ending", gguf.ErrCorrupt, n+1, lines[1])
		}
		e, err := asks(lines[0], right, lines[2:]...)
		if err != nil {
			return nil, err
		}
		examples = append(examples, e)
		n += linesOfHellaswag
	}
	return examples, nil
}

func isLlamaWinogrande(data []byte) bool {
	line, _, _ := strings.Cut(string(data), "\n")
	_, err := parseLlamaSentence(line)
	return err == nil
}

// parseLlamaWinogrande leaves the last line out, as llama-perplexity does.
func parseLlamaWinogrande(data []byte) (examples []*example, err error) {
	lines := linesOf(data)
	for i, line := range lines[:len(lines)-1] {
		e, err := parseLlamaSentence(line)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", gguf.ErrCorrupt, i+1, err)
		}
		examples = append(examples, e)
	}
	return examples, nil
}

// parseLlamaSentence reads number,sentence,option,option,answer. A sentence may be quoted; quotes in it stay as they are.
func parseLlamaSentence(line string) (*example, error) {
	var commas []int
	quoted := false
	for i := 0; i < len(line) && len(commas) < 4; i++ {
		switch {
		case line[i] == '"':
			quoted = !quoted
		case line[i] == ',' && !quoted:
			commas = append(commas, i)
		}
	}
	if len(commas) < 4 {
		return nil, errors.New("there are not five values, with commas between them")
	}
	field := func(i int) string { return line[commas[i-1]+1 : commas[i]] }
	sentence := field(1)
	if strings.HasPrefix(sentence, `"`) {
		sentence = sentence[1 : len(sentence)-1] // it has another quote, before the comma
	}
	before, after, found := strings.Cut(sentence, "_")
	if !found {
		return nil, fmt.Errorf("there is no _ in the sentence %q", sentence)
	}
	answer := strings.TrimSpace(line[commas[3]+1:])
	if answer != "1" && answer != "2" {
		return nil, fmt.Errorf("the answer is %q, not 1 or 2", answer)
	}
	return &example{
		choices: []choice{{before + field(2), after}, {before + field(3), after}}, gold: []int{int(answer[0] - '1')},
	}, nil
}

// isLlamaChoices: the first task follows the positions of all.
func isLlamaChoices(data []byte) bool {
	r := &llamaReader{data: data}
	n, first := r.number(), r.number()
	return r.err == nil && n > 0 && uint64(first) == 4+4*uint64(n) && uint64(first) < uint64(len(data))
}

// parseLlamaChoices reads the number of tasks, the position of each, and the tasks: a question, its answers with one that is right, and
// answers with several, which are not used.
func parseLlamaChoices(data []byte) (examples []*example, err error) {
	r := &llamaReader{data: data}
	positions := make([]uint32, min(r.number(), uint32(len(data)/4)))
	for i := range positions {
		positions[i] = r.number()
	}
	for i, position := range positions {
		if r.err == nil && position != uint32(r.at) {
			return nil, fmt.Errorf("%w: task %d is at %d, not at %d", gguf.ErrCorrupt, i, r.at, position)
		}
		e := &example{context: r.text(), delimiter: " "}
		e.choices, e.gold = r.answers()
		r.answers()
		if r.err != nil {
			return nil, fmt.Errorf("%w: task %d: %w", gguf.ErrCorrupt, i, r.err)
		}
		if e.context == "" {
			return nil, fmt.Errorf("%w: task %d has no question", gguf.ErrCorrupt, i)
		}
		examples = append(examples, e)
	}
	return examples, nil
}

// llamaReader reads numbers and texts of a file up to the first error.
type llamaReader struct {
	data []byte
	at   int
	err  error
}

func (r *llamaReader) bytes(n uint32) []byte {
	if r.err == nil && uint64(n) > uint64(len(r.data)-r.at) {
		r.err = fmt.Errorf("%d bytes at %d are beyond the end of the file", n, r.at)
	}
	if r.err != nil {
		return nil
	}
	r.at += int(n)
	return r.data[r.at-int(n) : r.at]
}

func (r *llamaReader) number() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *llamaReader) text() string { return string(r.bytes(r.number())) }

// answers returns texts and the numbers of those whose label is 1.
func (r *llamaReader) answers() (choices []choice, right []int) {
	const most = 100 // llama.cpp's
	n := r.number()
	if n > most && r.err == nil {
		r.err = fmt.Errorf("%d answers, of which there may be %d", n, most)
	}
	if r.err != nil {
		return nil, nil
	}
	for range n {
		choices = append(choices, choice{text: r.text()})
	}
	for i := range choices {
		if r.number() == 1 {
			right = append(right, i)
		}
	}
	return choices, right
}

// orderOfErasures draws from what is left with libstdc++'s uniform_int_distribution, which is Lemire's (arXiv 1805.10941).
func orderOfErasures(n int) []int {
	word := pyrandom.Words(1)
	below := func(n uint32) int {
		for {
			high, low := bits.Mul32(word(), n)
			if low >= n || low >= -n%n {
				return int(high)
			}
		}
	}
	left, order := numbered(n), make([]int, 0, n)
	for range n {
		i := below(uint32(len(left)))
		order = append(order, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return order
}

// orderOfSwaps draws by numbers in single precision, and puts the last in the place of what was drawn.
func orderOfSwaps(n int) []int {
	word := pyrandom.Words(1)
	left, order := numbered(n), make([]int, 0, n)
	for range n {
		last := len(left) - 1
		i := min(int(float32(word())*0x1p-32*float32(len(left))), last)
		order = append(order, left[i])
		left[i] = left[last]
		left = left[:last]
	}
	return order
}

func numbered(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// wholes encodes each request as one text, and returns how many tokens all begin with, at least one less than any has.
func (e *encoder) wholes(requests []request) (all [][]int32, common int, err error) {
	for _, r := range requests {
		ids := e.whole(r.context + r.continuation)
		if len(ids) > e.maxLength {
			return nil, 0, fmt.Errorf("%d tokens do not fit into a context of %d", len(ids), e.maxLength)
		}
		all = append(all, ids)
	}
	common = len(all[0])
	for _, ids := range all {
		n := 0
		for n < len(ids)-1 && n < common && ids[n] == all[0][n] {
			n++
		}
		common = min(common, n)
	}
	if common = min(common, len(all[0])-1); common < 1 {
		return nil, 0, errors.New("the choices have no token in common, and there is no BOS token")
	}
	return all, common, nil
}

// whole returns the tokens of a text as llama.cpp encodes it.
func (e *encoder) whole(text string) []int32 {
	ids := e.vocab.Encode(text, tokenizer.Options{AddSpecial: e.told == nil})
	if e.told != nil && *e.told {
		ids = slices.Insert(ids, 0, e.vocab.BOS())
	}
	return ids
}

// scored is a text whose likelihood is that of its tokens from one on, up to another.
func scored(ids []int32, from, to int) *encoded {
	return &encoded{
		context: from, continuation: to - from, fed: to - 1,
		requests: []score.Request{{Context: ids[:from], Continuation: ids[from:to]}},
	}
}

// behindPrefix scores what comes after the tokens that all choices begin with.
func (e *encoder) behindPrefix(requests []request) ([]*encoded, error) {
	all, common, err := e.wholes(requests)
	if err != nil {
		return nil, err
	}
	result := make([]*encoded, len(all))
	for i, ids := range all {
		result[i] = scored(ids, common, len(ids))
	}
	return result, nil
}

// behindGap scores what comes after the options if both sentences have more than three tokens of their own, else from the options on; without
// the last token, if there are others.
func (e *encoder) behindGap(requests []request) ([]*encoded, error) {
	const few = 3
	all, common, err := e.wholes(requests)
	if err != nil {
		return nil, err
	}
	after := min(len(all[0]), len(all[1]))-common > few
	result := make([]*encoded, len(all))
	for i, ids := range all {
		from := common
		if after {
			from = len(e.whole(requests[i].context))
		}
		to := len(ids)
		if to-from > 1 {
			to--
		}
		if from >= to {
			return nil, fmt.Errorf("option %d ends with the sentence, in tokens", i+1)
		}
		result[i] = scored(ids, from, to)
	}
	if !after { // the first token of the second is predicted from the end of the first sentence: a fault, but the score has it
		second := result[1]
		one := score.Request{Context: all[0], Continuation: all[1][common : common+1]}
		second.requests = []score.Request{one}
		if second.continuation > 1 {
			second.requests = append(second.requests, scored(all[1], common+1, common+second.continuation).requests...)
		}
	}
	return result, nil
}

// wilson is Wilson's 95 % interval of a share of n.
func wilson(share float64, n int) [2]float64 {
	const z = 1.95996398454
	zz := z * z / float64(n)
	half := zz * math.Sqrt(float64(n)*(4*share*(1-share)+zz)) / (2 * z)
	return [2]float64{(share + zz/2 - half) / (1 + zz), (share + zz/2 + half) / (1 + zz)}
}
